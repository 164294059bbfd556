"""The table of compiled operations and the functions of the kernels are the same, and there is no other table."""

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import tui_llama
from tests.every_kernel import every_kernel
from tui_llama.engine import kernels, ops
from tui_llama.engine.layouts.weight_tile import BF16_FORMAT, F16_FORMAT, FORMATS
from tui_llama.engine.ops import Operation
from tui_llama.errors import CallerError

PROGRAM = Path(tui_llama.__file__).parent
PLANNED = [
    ops.EMBED,
    *(ops.RMS_NORM, ops.SWIGLU, ops.ROTATE_QUERIES, ops.STORE_KEYS, ops.STORE_VALUES, ops.ATTENTION),
    *(ops.CLAMPED_SWIGLU, ops.GATE_BY_SIGMOID, ops.WEIGH, ops.WEIGH_HEADS),
    *ops.EXPERTS,
    *ops.FILE_EXPERTS,
    *map(ops.quantization, (32, 256)),
    *map(ops.matrix_product, FORMATS.values()),
]
TABLE = every_kernel()


@pytest.mark.parametrize("operation", TABLE, ids=lambda operation: operation.name)
def test_each_operation_is_a_function_with_as_many_arguments(operation: Operation) -> None:
    function = getattr(import_module(f"{kernels.__name__}.{operation.module}"), operation.name)
    signature = inspect.signature(function)
    assert len(operation.arguments) == len(signature.parameters)
    assert set(operation.arguments) <= {"i", "p"}
    assert {parameter.annotation for parameter in signature.parameters.values()} == {int}
    assert signature.return_annotation is (int if operation.returns else None)


def test_each_compiled_function_is_in_the_table() -> None:
    assert {(operation.module, operation.name) for operation in TABLE} == set(_compiled_functions())


def _compiled_functions() -> Iterator[tuple[str, str]]:
    """Modules and names of what is compiled: public, undecorated functions of whole numbers only."""
    folder = Path(kernels.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not node.decorator_list:
                kinds = {ast.unparse(argument.annotation) for argument in node.args.args if argument.annotation}
                if kinds == {"int"} and node.returns and ast.unparse(node.returns) in ("None", "int"):
                    yield ".".join(path.relative_to(folder).with_suffix("").parts), node.name


def test_a_plan_finds_its_operations_by_their_names() -> None:
    assert all(ops.plan_operation(operation.name) is operation for operation in PLANNED)
    assert {operation.arguments for operation in PLANNED} == {ops.PLAN_ARGUMENTS}
    with pytest.raises(CallerError, match="'take_part'"):
        ops.plan_operation(ops.TAKE_PART.name)


def test_each_format_has_its_own_product_and_packs_of_the_same_sizes_are_shared() -> None:
    assert len(set(map(ops.matrix_product, FORMATS.values()))) == len(FORMATS)
    assert ops.packing(BF16_FORMAT) is ops.packing(F16_FORMAT)
    assert ops.repacking([F16_FORMAT]) == [ops.REPACK_UNITS, ops.packing(F16_FORMAT)]


def test_no_other_file_of_the_program_makes_a_kernel() -> None:
    making = {
        path.relative_to(PROGRAM).as_posix()
        for path in PROGRAM.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _called_name(node.func) in {"Kernel", "Operation"}
    }
    assert making == {"engine/ops.py"}


def _called_name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
