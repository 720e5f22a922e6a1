import click


@click.command
def top() -> None: ...
