"""What goes out: immutable snapshots of a project's answers, and the files made from them."""
