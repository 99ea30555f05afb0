"""The obvious service, for `benchmarks.serve`: one `MTCNN().detect_faces` and one `predict` of Keras a request.

Loaded once, as tutorials do it, and run by FastAPI in its threads. It answers age, gender and race of each face from
the same networks and crops, without an interval, without a mirror image and without a limit.

    python -m benchmarks.obvious models/pretrained/utkface 5001
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import uvicorn
from fastapi import FastAPI, UploadFile
from fastapi.params import File

from faceline.console import load_tensorflow
from faceline.faces.cropping import crop_face
from faceline.faces.decoding import decode
from faceline.faces.detection import Face


def create_app(bundle: Path) -> FastAPI:
    """The service on the networks of a bundle."""
    load_tensorflow()
    from mtcnn import MTCNN

    from faceline.learning.answering import load_network
    from faceline.learning.card import read_card
    from faceline.learning.pixels import prepare

    card = read_card(bundle)
    networks = [(load_network(bundle, entry), entry.input) for entry in card.networks]
    detector = MTCNN()
    app = FastAPI()

    @app.post("/predict")
    def predict(picture: Annotated[UploadFile, File()]) -> list[dict[str, Any]]:
        pixels = decode(picture.file.read(), max_pixels=card.decode.max_pixels)
        answers = []
        for found in detector.detect_faces(pixels):
            x, y, width, height = map(int, found["box"])
            face = Face(x, y, width, height, float(found["confidence"]))
            crop = crop_face(pixels, face, card.crop)[np.newaxis]
            outputs = [network.predict(prepare(crop, given), verbose=0) for network, given in networks]
            answers.append({name: values[0].tolist() for part in outputs for name, values in part.items()})
        return answers

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
