"""What answers people and programs: the API, its page, and a page that predicts in the browser."""
