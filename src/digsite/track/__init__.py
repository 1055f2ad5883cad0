"""When do the representations of a network change while it learns?"""

from typing import TYPE_CHECKING

from digsite.base.public import lazy_names, make_callable

if TYPE_CHECKING:
    from digsite.track.api import audit_target as audit_target
    from digsite.track.core.detect import detect_jumps as detect_jumps
    from digsite.track.core.early_warning import online_features as online_features
    from digsite.track.core.formation import date_formation as date_formation
    from digsite.track.core.jumps import Jump as Jump
    from digsite.track.core.learning_coefficient import estimate_coefficient as estimate_coefficient
    from digsite.track.core.mechanisms import activation_selectivity as activation_selectivity
    from digsite.track.core.mechanisms import activation_sparsity as activation_sparsity
    from digsite.track.core.mechanisms import attention_entropy as attention_entropy
    from digsite.track.core.mechanisms import attention_specialization as attention_specialization
    from digsite.track.core.mechanisms import filter_similarity as filter_similarity
    from digsite.track.core.mechanisms import prefix_matching as prefix_matching
    from digsite.track.core.mechanisms import weight_change as weight_change
    from digsite.track.core.members import EnsembleTracker as EnsembleTracker
    from digsite.track.core.online import WeightRing as WeightRing
    from digsite.track.core.probe import Probe as Probe
    from digsite.track.core.probe import targets as targets
    from digsite.track.core.probe import watching as watching
    from digsite.track.core.readout import spectra as spectra
    from digsite.track.core.sample_losses import cluster_samples as cluster_samples
    from digsite.track.core.series import Series as Series
    from digsite.track.core.series import make_series as make_series
    from digsite.track.core.spectrum import cka as cka
    from digsite.track.core.tracker import Tracker as Tracker
    from digsite.track.judge.moments import plan_checkpoints as plan_checkpoints
    from digsite.track.judge.series_audit import audit_series as audit_series
    from digsite.track.subjects.checkpoints import checkpoint_steps as checkpoint_steps
    from digsite.track.subjects.checkpoints import observe_checkpoints as observe_checkpoints
    from digsite.track.subjects.tracked import lightning_callback as lightning_callback
    from digsite.track.subjects.tracked import transformers_callback as transformers_callback

__all__, __dir__, __getattr__ = lazy_names(__name__, __file__)
make_callable(__name__, "digsite.track.api:track")
