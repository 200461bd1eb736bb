"""Print the arithmetic of a convolution or pooling with the formula filled in.

examples:
  numconv shape conv --input 227 --kernel 11 --stride 4
  numconv shape conv --input 28x31 --kernel 5 --padding 2 --stride 3
  numconv shape conv --kernel 3 --in-channels 64 --out-channels 64 --groups 8
  numconv shape conv --kernel 3 --in-channels 16 --out-channels 32 --separable depthwise
  numconv shape conv --input 5 --kernel 3 --separable spatial
  numconv shape conv --input 280x320 --kernel 1x2 --matrix
  numconv shape transposed --input 2 --kernel 3 --stride 2
  numconv shape pool --input 112 --kernel 3 --stride 2 --padding 1
  numconv shape field 3 3:1:2 3:1:4
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

from numconv.commands.common import add_json, per_axis, show, sizes, write_json

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
WORDS = ("valid", "same", "same_lower", "full")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for name, lines, summary in (
        ("conv", conv_lines, "a convolution: output size, parameters, operations, bytes"),
        ("transposed", transposed_lines, "a transposed convolution: output size, parameters, operations"),
        ("pool", pool_lines, "a pooling: output size"),
        ("field", field_lines, "the receptive field after each of several layers"),
    ):
        child = kinds.add_parser(name, help=summary, description=f"Arithmetic of {summary}.", epilog=EXAMPLES[name])
        child.set_defaults(lines=lines)
        add_json(child)
        if name == "field":
            child.add_argument("layers", nargs="+", type=layer, metavar="KERNEL[:STRIDE[:DILATION]]")
            continue
        add_window_arguments(child, needs_input=name != "conv")
        if name != "pool":
            add_channel_arguments(child)
    conv, transposed, pool = (kinds.choices[name] for name in ("conv", "transposed", "pool"))
    conv.add_argument(
        "--separable",
        choices=("depthwise", "spatial"),
        help="compare with a depthwise and a 1x1 convolution, or with one convolution for each axis",
    )
    conv.add_argument("--matrix", action="store_true", help="compare with the product with a dense matrix")
    transposed.add_argument("--output-padding", type=sizes, default=(0,), metavar="P")
    pool.add_argument("--ceil-mode", action="store_true", help="round up instead of down")


def add_window_arguments(parser: argparse.ArgumentParser, needs_input: bool) -> None:
    parser.add_argument("--input", type=sizes, required=needs_input, metavar="SIZE", help="227 or 28x31")
    parser.add_argument("--kernel", type=sizes, required=True, metavar="SIZE", help="3 or 3x5")
    parser.add_argument("--stride", type=sizes, metavar="S", help="default: 1, the kernel for pool")
    parser.add_argument(
        "--padding", type=padding, default=(0,), metavar="P", help=f"1, 1x2, before:after, {WORDS[1]}, …"
    )
    parser.add_argument("--dilation", type=sizes, default=(1,), metavar="D")
    parser.add_argument("--dims", type=int, choices=(1, 2, 3), help="number of axes where every size is one number (2)")


def add_channel_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--in-channels", type=int, default=1, metavar="C")
    parser.add_argument("--out-channels", type=int, default=1, metavar="C")
    parser.add_argument("--groups", type=int, default=1, metavar="G")
    parser.add_argument("--bias", action="store_true")
    parser.add_argument("--dtype", default="float32", help="for the bytes (float32)")


def padding(text: str) -> str | tuple:
    """Parse a word, ``"2"``, ``"2x1"`` or pairs ``"1:2x0:1"``."""
    if text in WORDS:
        return text
    parts = [part.split(":") for part in text.lower().split("x")]
    try:
        return tuple(int(p[0]) if len(p) == 1 else (int(p[0]), int(p[1])) for p in parts)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected 2, 2x1, before:after or one of {WORDS}, got {text!r}") from None


def layer(text: str) -> tuple[int, int, int]:
    """Parse ``KERNEL[:STRIDE[:DILATION]]``."""
    try:
        kernel, stride, dilation = ([int(part) for part in text.split(":")] + [1, 1])[:3]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected KERNEL[:STRIDE[:DILATION]], got {text!r}") from None
    return kernel, stride, dilation


def run(options: argparse.Namespace) -> None:
    show("\n".join(options.lines(options)), options)
    if options.json is not None:
        write_json(field_figures(options) if options.kind == "field" else figures(options), options)


def figures(options: argparse.Namespace) -> dict[str, Any]:
    """What the lines say, in numbers, of one convolution or pooling."""
    p = conv_problem("conv_transpose" if options.kind == "transposed" else "conv", options)
    sizes = p.spatial, rounded_up(p) if options.kind == "pool" and options.ceil_mode else p.out_spatial
    found: dict[str, Any] = {name: getattr(p, name) for name in ("kernel", "stride", "padding", "dilation", "groups")}
    if options.input:
        found |= dict(zip(("input", "output"), sizes[::-1] if options.kind == "transposed" else sizes))
    if options.kind == "pool":
        return found
    found["parameters"] = p.parameters
    if options.input:
        found |= {"multiply_adds": p.multiply_adds, "bytes": p.bytes}
    return found


def field_figures(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The receptive field after each layer."""
    from numconv.problem import receptive_field

    named = [dict(zip(("kernel", "stride", "dilation"), each)) for each in options.layers]
    return [each | {"field": receptive_field(options.layers[: i + 1])} for i, each in enumerate(named)]


def conv_lines(options: argparse.Namespace) -> Iterator[str]:
    """The lines of ``numconv shape conv``."""
    from numconv.problem import effective_kernel

    p = conv_problem("conv", options)
    if options.input:
        yield from formula_lines(p.spatial, p.out_spatial, [conv_formula(p, options.padding, i) for i in range(p.ndim)])
    if any(d > 1 for d in p.dilation):
        terms = [f"{d}·({k} − 1) + 1 = {effective_kernel(k, d)}" for k, d in zip(p.kernel, p.dilation)]
        yield f"effective kernel = {unique(terms)}"
    yield parameter_line(p)
    if options.input:
        yield from work_lines(p)
    if options.separable:
        yield from {"depthwise": depthwise_lines, "spatial": spatial_lines}[options.separable](p, bool(options.input))
    if options.matrix:
        yield from matrix_lines(p)


def transposed_lines(options: argparse.Namespace) -> Iterator[str]:
    """The lines of ``numconv shape transposed``."""
    p = conv_problem("conv_transpose", options)
    extra = per_axis(options.output_padding, p.ndim, "output-padding")
    formulas = [
        f"{n}·{s}"
        if options.padding in ("same", "same_lower")
        else f"({n} − 1)·{s} − {pads(pair)} + {d}·({k} − 1) + {e} + 1"
        for n, s, pair, d, k, e in zip(p.out_spatial, p.stride, p.padding, p.dilation, p.kernel, extra)
    ]
    yield from formula_lines(p.out_spatial, p.spatial, formulas)
    yield parameter_line(p)
    yield from work_lines(p)


def pool_lines(options: argparse.Namespace) -> Iterator[str]:
    """The lines of ``numconv shape pool``: a convolution's arithmetic with the kernel's size as default stride."""
    options.stride = options.stride or options.kernel
    options.in_channels = options.out_channels = options.groups = 1
    options.bias, options.dtype = False, "float32"
    p = conv_problem("conv", options)
    formulas = [conv_formula(p, options.padding, i) for i in range(p.ndim)]
    if options.ceil_mode:
        yield from formula_lines(p.spatial, rounded_up(p), [formula.replace("floor", "ceil") for formula in formulas])
        yield "(a last window that would start in the padding behind the image is left out)"
    else:
        yield from formula_lines(p.spatial, p.out_spatial, formulas)


def rounded_up(p: Any) -> tuple[int, ...]:
    """The output size of a pooling with ``--ceil-mode``."""
    from numconv.problem.pooling import pooled_size

    return pooled_size(p.spatial, p.kernel, p.stride, p.padding, p.dilation, True)


def field_lines(options: argparse.Namespace) -> Iterator[str]:
    """The lines of ``numconv shape field``."""
    from numconv.problem import receptive_field

    field: Any = 1
    jump = 1
    for count, (kernel, stride, dilation) in enumerate(options.layers, 1):
        grown = receptive_field(options.layers[:count])
        yield f"layer {count}: receptive field = {field} + {dilation}·({kernel} − 1)·{jump} = {grown}"
        field, jump = grown, jump * stride


def number_of_axes(options: argparse.Namespace) -> int:
    """The longest size's number of axes; ``--dims``, or 2, where every size is one number."""
    given = (options.input, options.kernel, options.stride, options.dilation)
    longest = max(len(value) for value in given if value is not None)
    if longest > 3:
        raise ValueError(f"--input, --kernel: expected at most 3 axes, got {longest}")
    return options.dims or (2 if longest == 1 else longest)


def conv_problem(operation: str, options: argparse.Namespace) -> Any:
    """The ConvProblem that the options describe; without ``--input`` on an image that the kernel just covers."""
    from numconv.problem import ConvProblem, effective_kernel, integer

    axes = number_of_axes(options)
    kernel = per_axis(options.kernel, axes, "kernel")
    dilation = per_axis(options.dilation, axes, "dilation")
    size = options.input or [effective_kernel(k, d) for k, d in zip(kernel, dilation)]
    groups = integer("groups", options.groups, 1)
    first, second = options.in_channels, options.out_channels
    for name, channels in (("in_channels", first), ("out_channels", second)):
        integer(name, channels, 1)
        if channels % groups:
            raise ValueError(f"groups must divide {name}, got {groups} groups and {channels} channels")
    weight = (first, second // groups) if operation == "conv_transpose" else (second, first // groups)
    return ConvProblem.make(
        f"{operation}{axes}d",
        (1, first, *per_axis(tuple(size), axes, "input")),
        (*weight, *kernel),
        options.dtype,
        stride=options.stride or 1,
        padding=options.padding,
        dilation=dilation,
        groups=groups,
        bias_shape=(second,) if options.bias else None,
        **({"output_padding": options.output_padding} if operation == "conv_transpose" else {}),
    )


def conv_formula(p: Any, padding: str | tuple, i: int) -> str:
    """The right-hand side of axis ``i``."""
    n, s = p.spatial[i], p.stride[i]
    if padding in ("same", "same_lower"):
        return f"ceil({n} / {s})"
    return f"floor(({n} + {pads(p.padding[i])} − {p.dilation[i]}·({p.kernel[i]} − 1) − 1) / {s}) + 1"


def pads(pair: tuple[int, int]) -> str:
    """``2·1`` or ``(1 + 2)``."""
    before, after = pair
    return f"2·{before}" if before == after else f"({before} + {after})"


def formula_lines(size: tuple, out: tuple, formulas: list[str]) -> Iterator[str]:
    """One formula where all axes agree, else one for each, and the sizes."""
    lines = [f"out = {formula} = {result}" for formula, result in zip(formulas, out)]
    if len(set(lines)) == 1:
        yield lines[0]
    else:
        yield from (f"{axis}: {line}" for axis, line in zip(AXES[len(size)], lines))
    if len(size) > 1:
        yield f"{times(size, 'x')} → {times(out, 'x')}"


def times(factors: Iterable[int], sign: str = "·") -> str:
    """The factors joined by ``sign``."""
    return sign.join(map(str, factors))


def unique(terms: list[str]) -> str:
    """One term where all are the same, else all of them."""
    return terms[0] if len(set(terms)) == 1 else " and ".join(terms)


def parameter_line(p: Any) -> str:
    """The parameters, and what they would be in one group."""
    first, second, *kernel = p.weight_shape
    if p.groups > 1:
        second = f"({second * p.groups}/{p.groups})"
    bias = f" + {p.parameters - prod(p.weight_shape)}" if p.bias else ""
    line = f"parameters = {times((first, second, *kernel))}{bias} = {p.parameters:,}"
    if p.groups == 1:
        return line
    return f"{line} against {p.parameters + prod(p.weight_shape) * (p.groups - 1):,} in one group"


def work_lines(p: Any) -> Iterator[str]:
    """Multiply-adds, additions counted apart, and bytes."""
    outputs = (p.co, *p.out_spatial)
    taps = (p.ci // p.groups, *p.kernel)
    yield f"multiply-adds = {times(outputs)} · {times(taps)} = {p.multiply_adds:,}"
    yield f"bytes = {p.bytes:,} of input, parameters and output ({p.dtype})"


def depthwise_lines(p: Any, sized: bool) -> Iterator[str]:
    """A depthwise convolution and a 1x1 one in place of ``p``."""
    if p.groups != 1:
        raise ValueError(f"--separable depthwise: expected --groups 1, got {p.groups}")
    outputs = prod(p.out_spatial)
    depthwise, pointwise = p.ci * prod(p.kernel), p.ci * p.co
    yield f"depthwise separable: parameters = {versus(depthwise, pointwise, prod(p.weight_shape))}"
    if sized:
        work = versus(depthwise * outputs, pointwise * outputs, p.multiply_adds)
        yield f"depthwise separable: multiplications = {work}"


def spatial_lines(p: Any, sized: bool) -> Iterator[str]:
    """One 1-D pass for each of two axes in place of ``p``."""
    if p.ndim != 2:
        raise ValueError(f"--separable spatial: expected a kernel of 2 axes, got {p.ndim}")
    pairs = p.co * (p.ci // p.groups)
    (kh, kw), (oh, ow), width = p.kernel, p.out_spatial, p.spatial[1]
    yield f"spatially separable: parameters = {versus(pairs * kh, pairs * kw, prod(p.weight_shape))}"
    if sized:
        work = versus(pairs * kh * oh * width, pairs * kw * oh * ow, p.multiply_adds)
        yield f"spatially separable: multiplications = {work}"


def versus(first: int, second: int, whole: int) -> str:
    """``a + b = c against d``."""
    return f"{first:,} + {second:,} = {first + second:,} against {whole:,}"


def matrix_lines(p: Any) -> Iterator[str]:
    """The operations of the sliding window, and the entries of the matrix that does the same."""
    rows, columns = p.co * prod(p.out_spatial), p.ci * prod(p.spatial)
    taps = p.multiply_adds // rows
    additions = taps - 1 + p.bias
    operations = f"{rows:,} outputs · ({taps} + {additions}) = {rows * (taps + additions):,}"
    yield f"operations = {operations} multiplications and additions"
    yield f"as a matrix: {rows:,} x {columns:,} = {rows * columns:,} entries"


EXAMPLES = {
    "conv": "example: numconv shape conv --input 28x31 --kernel 5 --padding 2 --stride 3",
    "transposed": "example: numconv shape transposed --input 2 --kernel 3 --stride 2",
    "pool": "example: numconv shape pool --input 112 --kernel 3 --stride 2 --padding 1",
    "field": "example, 3x3 layers with dilations 1, 2 and 4: numconv shape field 3 3:1:2 3:1:4",
}
