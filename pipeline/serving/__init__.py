"""A pushed model behind a model server: the server's configuration, and a client."""
