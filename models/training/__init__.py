"""How the two shipped networks were made; see README.md."""
