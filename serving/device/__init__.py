"""A page that predicts in the browser: the picture never leaves the device. `docs/device.md`."""
