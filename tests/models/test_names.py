"""What models are called in the title bar and in lists, whatever their files and converters say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.models.catalogue import CatalogueEntry, load_catalogue
from tui_llama.models.names import short_name

BLOB = "sha256-" + "0123456789abcdef" * 4
COMMIT = "1cfa9a7208912126459214e8b04321603b3df60c"

SAID = [
    # (file, general.name, what is shown): names that are names
    ("Llama-3.2-3B-Instruct-Q4_K_M.gguf", "Llama 3.2 3B Instruct", "Llama 3.2 3B Instruct"),
    ("Meta-Llama-3.1-8B-Instruct-IQ4_XS.gguf", "Meta Llama 3.1 8B Instruct", "Meta Llama 3.1 8B Instruct"),
    ("Qwen3-4B-Instruct-2507-UD-Q4_K_XL.gguf", "Qwen3-4B-Instruct-2507", "Qwen3 4B Instruct 2507"),
    ("Qwen3-0.6B-BF16.gguf", "Qwen3 0.6B", "Qwen3 0.6B"),
    ("Qwen3-30B-A3B-Q4_K_M.gguf", "Qwen3 30B A3B", "Qwen3 30B A3B"),
    ("gemma-2-2b-it-Q4_K_M.gguf", "Gemma 2 2b It", "Gemma 2 2b It"),
    ("gemma-3-270m-it-qat-Q4_0.gguf", "Gemma 3 270m It Qat", "Gemma 3 270m It Qat"),
    ("Phi-3-mini-4k-instruct-q4.gguf", "Phi3", "Phi3"),
    ("Mixtral-8x7B-Instruct-v0.1-Q2_K.gguf", "Mixtral 8x7B Instruct V0.1", "Mixtral 8x7B Instruct V0.1"),
    ("OLMo-2-1124-7B-Instruct-Q4_K_M.gguf", "OLMo 2 1124 7B Instruct", "OLMo 2 1124 7B Instruct"),
    ("DeepSeek-R1-Distill-Qwen-1.5B.gguf", "DeepSeek R1 Distill Qwen 1.5B", "DeepSeek R1 Distill Qwen 1.5B"),
    ("llama-2-7b-chat.Q4_0.gguf", "LLaMA v2", "LLaMA v2"),
    ("gpt-oss-20b-mxfp4.gguf", "Gpt Oss 20b", "Gpt Oss 20b"),
    ("ggml-model-i2_s.gguf", "BitNet b1.58 2B 4T", "BitNet b1.58 2B 4T"),
    (BLOB, "Llama 3.2 1B Instruct", "Llama 3.2 1B Instruct"),
    ("x.gguf", "  Qwen3\n 4B ", "Qwen3 4B"),
    # names with what says how the file was made, and by whom
    ("qwen2.5-coder-7b-instruct-q4_k_m.gguf", "Qwen2.5 Coder 7B Instruct GGUF", "Qwen2.5 Coder 7B Instruct"),
    ("x.gguf", "Llama-3.2-1B-Instruct-Q4_K_M", "Llama 3.2 1B Instruct"),
    ("x.gguf", "mistralai_mistral-7b-instruct-v0.2", "mistral 7b instruct v0.2"),
    ("x.gguf", "tinyllama_tinyllama-1.1b-chat-v1.0", "tinyllama 1.1b chat v1.0"),
    ("x.gguf", "teknium_openhermes-2.5-mistral-7b", "openhermes 2.5 mistral 7b"),
    ("x.gguf", "huggingfaceh4_zephyr-7b-beta", "zephyr 7b beta"),
    ("x.gguf", "stablelm-2-zephyr-1_6b", "stablelm 2 zephyr 1.6b"),
    # labels of training runs
    ("SmolLM2-135M-Instruct.Q4_1.gguf", "Smollm2 135M 8k Lc100K Mix1 Ep2", "SmolLM2 135M Instruct"),
    ("SmolLM2-360M-Instruct.Q4_K_M.gguf", "Smollm2 360M 8k Lc100K Mix1 Ep2", "SmolLM2 360M Instruct"),
    ("smollm2-1.7b-instruct-q4_k_m.gguf", "Smollm2 1.7B 8k Mix7 Ep2 v2", "smollm2 1.7b instruct"),
    ("Qwen3-4B-Q4_K_M.gguf", "checkpoint-1200", "Qwen3 4B"),
    ("Qwen3-4B-Q4_K_M.gguf", "qwen3-4b-lora-merged", "Qwen3 4B"),
    ("Qwen3-4B-Q4_K_M.gguf", "sft_step500_lr1e", "Qwen3 4B"),
    (BLOB, "Smollm2 135M 8k Lc100K Mix1 Ep2", "Smollm2 135M 8k Lc100K Mix1 Ep2"),
    # folders, paths, hashes
    ("Falcon3-1B-Instruct-q4_k_m.gguf", "workspace", "Falcon3 1B Instruct"),
    ("Qwen3-4B-Q4_K_M.gguf", "models--Qwen--Qwen3-4B", "Qwen3 4B"),
    ("Qwen3-4B-Q4_K_M.gguf", COMMIT, "Qwen3 4B"),
    ("Qwen3-4B-Q4_K_M.gguf", f"Qwen3 {COMMIT[:12]}", "Qwen3 4B"),
    ("Qwen3-4B-Q4_K_M.gguf", "tmp8k2hd9a1", "Qwen3 4B"),
    ("Qwen3-4B-Q4_K_M.gguf", "Tmp", "Qwen3 4B"),
    ("Qwen3-4B-Q4_K_M.gguf", ".", "Qwen3 4B"),
    ("Qwen3-4B-Q4_K_M.gguf", "   ", "Qwen3 4B"),
    ("Qwen3-4B-Q4_K_M.gguf", "Snapshots", "Qwen3 4B"),
    ("TinyLlama-1.1B-Chat-v1.0.Q5_K_M.gguf", "/home/user/models/TinyLlama", "TinyLlama 1.1B Chat v1.0"),
    ("TinyLlama-1.1B-Chat-v1.0.Q5_K_M.gguf", "C:\\models\\TinyLlama", "TinyLlama 1.1B Chat v1.0"),
    ("llama-2-7b-chat.Q4_0.gguf", "ggml-model-f16", "llama 2 7b chat"),
    ("stories260K.gguf", "llama", "stories260K"),
    ("Phi-4-mini-Q4_K_M.gguf", "models", "Phi 4 mini"),
    ("Phi-4-mini-Q4_K_M.gguf", "Unsloth Model", "Phi 4 mini"),
    ("tinyllama.gguf", "A very long name " * 4, "tinyllama"),
]

FILES = [
    # every kind of quantization
    ("Qwen3-4B-Instruct-2507-Q4_K_M.gguf", "Qwen3 4B Instruct 2507"),
    ("Qwen3-8B-Q2_K.gguf", "Qwen3 8B"),
    ("Qwen3-8B-q5_1.gguf", "Qwen3 8B"),
    ("Qwen3-8B-Q8_0.gguf", "Qwen3 8B"),
    ("Qwen3-8B-Q8_K_XL.gguf", "Qwen3 8B"),
    ("Qwen3-8B-IQ4_NL.gguf", "Qwen3 8B"),
    ("Qwen3-8B-FP16.gguf", "Qwen3 8B"),
    ("Qwen3-8B-bf16.gguf", "Qwen3 8B"),
    ("Qwen3-8B-fp32.gguf", "Qwen3 8B"),
    ("granite-3.1-2b-instruct-f16.gguf", "granite 3.1 2b instruct"),
    ("EXAONE-3.5-2.4B-Instruct-IQ2_XXS.gguf", "EXAONE 3.5 2.4B Instruct"),
    ("Phi-3.5-mini-instruct-Q6_K_L.gguf", "Phi 3.5 mini instruct"),
    ("Qwen2.5-0.5B-Instruct-Q4_0_4_4.gguf", "Qwen2.5 0.5B Instruct"),
    ("Qwen2.5-0.5B-Instruct-Q4_0_8_8.gguf", "Qwen2.5 0.5B Instruct"),
    ("BitNet-b1.58-2B-4T-TQ2_0.gguf", "BitNet b1.58 2B 4T"),
    ("gpt-oss-20b-MXFP4_MOE.gguf", "gpt oss 20b"),
    ("stories15M-q8_0.gguf", "stories15M"),
    ("Phi-3-mini-4k-instruct-q4.gguf", "Phi 3 mini 4k instruct"),
    ("phi-2.Q4_K_M.gguf", "phi 2"),
    # other endings
    ("Kimi-K2-Instruct-UD-TQ1_0-00001-of-00005.gguf", "Kimi K2 Instruct"),
    ("DeepSeek-R1-0528-UD-IQ1_S-00001-of-00004.gguf", "DeepSeek R1 0528"),
    ("Mistral-Small-24B.i1-Q4_K_S.gguf", "Mistral Small 24B"),
    ("Qwen3-8B-Q4_K_M-imat.gguf", "Qwen3 8B"),
    ("Qwen3-4B.imatrix.Q4_K_M.gguf", "Qwen3 4B"),
    ("Llama-3.2-1B-Instruct-Q4_K_M (1).gguf", "Llama 3.2 1B Instruct"),
    ("Llama-3.2-1B-Instruct.gguf", "Llama 3.2 1B Instruct"),
    ("Llama-3.2-1B-Instruct-Q4_K_M.GGUF", "Llama 3.2 1B Instruct"),
    ("my model Q4_K_M.gguf", "my model"),
    # whose it is, in front
    ("Qwen_Qwen3-4B-Q4_K_M.gguf", "Qwen3 4B"),
    ("bartowski_Llama-3.2-1B-Instruct-GGUF_Llama-3.2-1B-Instruct-Q4_K_M.gguf", "Llama 3.2 1B Instruct"),
    ("deepseek_coder-6.7b.Q4_0.gguf", "deepseek coder 6.7b"),
    # what looks like an ending and is a part of the name
    ("Dolphin3.0-Llama3.2-1B-Q4_K_M.gguf", "Dolphin3.0 Llama3.2 1B"),
    ("GLM-4-9B-0414.gguf", "GLM 4 9B 0414"),
    ("QwQ-32B-Q4_K_M.gguf", "QwQ 32B"),
    ("lora-alpaca-7B.gguf", "lora alpaca 7B"),
    # where the file says nothing either
    ("model.gguf", "model"),
    ("ggml-model-q4_0.gguf", "ggml-model-q4_0"),
    ("unsloth.Q4_K_M.gguf", "unsloth.Q4_K_M"),
    ("Q4_K_M.gguf", "Q4_K_M"),
    (COMMIT, COMMIT),
    (BLOB, BLOB[:48]),
    # Ollama's name and tag, given as a file
    ("qwen3:4b", "qwen3:4b"),
    ("llama3.2:1b-instruct-q4_K_M", "llama3.2:1b instruct"),
]


@pytest.mark.parametrize(("file", "general_name", "shown"), SAID, ids=[f"{said}|{file}" for file, said, _ in SAID])
def test_a_model_is_called_what_it_says_unless_that_is_no_name(file: str, general_name: str, shown: str) -> None:
    assert short_name(f"/models/{file}", general_name) == shown


@pytest.mark.parametrize(("file", "shown"), FILES, ids=[file for file, _ in FILES])
def test_a_model_that_says_nothing_is_called_like_its_file(file: str, shown: str) -> None:
    assert short_name(f"/models/{file}") == shown


@pytest.mark.parametrize("entry", load_catalogue(), ids=lambda entry: entry.name)
def test_the_files_of_the_catalogue_lose_their_quantization(entry: CatalogueEntry) -> None:
    shown = short_name(entry.file).casefold().replace(" ", "_")

    assert entry.quantization.casefold() not in shown
    assert not shown.endswith("gguf")


@given(file=st.text(st.characters(exclude_characters="/\0"), min_size=1), said=st.text())
def test_every_file_is_called_something_that_can_be_written(file: str, said: str) -> None:
    assert file in (".", "..") or short_name(file, said).encode()
