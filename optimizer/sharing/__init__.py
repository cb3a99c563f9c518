"""Links that show one transcript to whoever has them."""
