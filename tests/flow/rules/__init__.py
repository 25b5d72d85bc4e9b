"""The book of rules, in real servers."""
