"""What other frameworks and libraries know dbkit by. Nothing here is imported by the rest of dbkit."""
