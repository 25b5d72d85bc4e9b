"""What is proved of a round in Postgres: statements, trees over the books, paths of users' leaves."""
