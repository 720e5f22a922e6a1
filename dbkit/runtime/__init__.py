"""The machinery that a pool runs on: threads, background jobs, one alarm clock, and what a fork changes."""
