"""In which number format, and on which device, a model is loaded."""

from __future__ import annotations

import torch

from resid_widgets.errors import InputError

_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def dtype_of(dtype: str | torch.dtype | None) -> torch.dtype:
    """Return the torch dtype that `dtype` means; None is float32.

    Raises
    ------
    InputError
        If it is none that a model can compute in.
    """
    if dtype is None:
        return torch.float32
    found = _DTYPES.get(str(dtype).removeprefix("torch."))
    if found is None:
        raise InputError.about("dtype", dtype, f"must be one of {', '.join(_DTYPES)}", "float32 is the default.")
    return found


def device_of(device: str | torch.device) -> torch.device:
    """Return the device that `device` means; ``"auto"`` is cuda where there is one.

    Raises
    ------
    InputError
        If torch cannot compute on it here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError.about("device", device, "torch does not know it", "Use 'auto', 'cpu' or 'cuda'.") from error
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise InputError.about("device", str(device), "torch sees no cuda device here", "Use 'auto' or 'cpu'.")
    try:
        torch.ones(1, device=wanted).item()
    except (RuntimeError, AssertionError) as error:  # no such index, or "meta", which holds no numbers
        raise InputError.about("device", str(device), "torch cannot compute on it here", "Use 'auto'.") from error
    return wanted
