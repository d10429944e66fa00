from . import tasks as tasks
from .analysis.activation_map import ActivationMap as ActivationMap
from .analysis.activation_map import activation_map as activation_map
from .analysis.logit_lens import LogitLens as LogitLens
from .analysis.logit_lens import logit_lens as logit_lens
from .errors import InputError as InputError
from .errors import UnsupportedModelError as UnsupportedModelError
from .models.capabilities import capabilities as capabilities
from .models.loading import load_model as load_model
from .models.model import ResidualModel as ResidualModel
from .models.run import Run as Run
from .models.run import run as run
from .results import Check as Check
from .results import Provenance as Provenance
from .results import Result as Result
from .sites import Site as Site
from .widgets.activation_heatmap import ActivationHeatmap as ActivationHeatmap
from .widgets.link import link as link
from .widgets.logit_lens_heatmap import LogitLensHeatmap as LogitLensHeatmap

__version__: str
