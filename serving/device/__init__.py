"""A page that predicts in the browser: the picture never leaves the device. `docs/device.md`."""

BUILT = ("vendor", "models")  # what `make device` fills: without it the page is no use
