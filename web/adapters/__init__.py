"""Other projects' APIs, so that their clients work with this server: each a translation of its requests and answers."""
