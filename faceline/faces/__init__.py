"""From bytes to a face: decoding, detection, cropping, quality."""
