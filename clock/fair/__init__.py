"""What makes a round provable, without a server: signed notes, Merkle trees, the texts of statements and leaves."""
