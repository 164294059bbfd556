"""What the starter model is: names, sizes and hashes, for those who only want to know it when they see it."""

from typing import Final

STARTER_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
STARTER_BYTES: Final = 98_362_432
STARTER_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WORKING_FOLDER_PREFIX: Final = ".starter-"
"""Begins the names of folders, beside the models, that hold a download of it until it is whole."""

LICENCE_FILE: Final = "SmolLM2-135M-Instruct.LICENSE"
