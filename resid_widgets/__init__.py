"""A microscope for the residual stream of transformers, inside a notebook cell.

Everything public is listed, with its types, in ``__init__.pyi`` and is loaded when it is first used: importing the
package imports neither torch nor transformer_lens nor matplotlib.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
