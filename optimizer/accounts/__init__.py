"""Who may use the server: accounts, their keys and sessions."""
