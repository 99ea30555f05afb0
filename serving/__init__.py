"""The REST API and the pages: what a bundle answers, over HTTP. Nothing of its own about models."""
