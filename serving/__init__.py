"""The REST API, and pages: what a bundle answers, over HTTP or in the browser. Nothing of its own about models."""
