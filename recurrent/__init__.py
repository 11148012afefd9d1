"""Recurrent neural networks on CPUs: fast, reproducible to the last bit, open to view.

Build a model from layers; train it with `fit`, or with a loop of your own:

>>> import numpy as np
>>> from recurrent import LSTM, Linear, Sequential
>>> model = Sequential(LSTM(5, 10), Linear(10, 1), rng=0)
>>> x = np.zeros((7, 3, 5), np.float32)  # 7 time steps, 3 sequences, 5 features
>>> optimizer, gradient = optim.Adam(1e-2), np.empty_like(model.flat)
>>> for _ in range(3):
...     y, state, tape = model.forward(x, record=True)
...     loss, dy = losses.mean_squared_error(y, np.ones_like(y))
...     gradients = model.backward(dy, tape, out=gradient)
...     optimizer.update(model.flat, gradient)
>>> y.shape, gradients.params["0.weight_hh_l0"].shape
((7, 3, 1), (40, 10))

Run it with `forward`, or one time step at a time with a stream, which copies the weights:

>>> model.stream().step(x[0]).shape
(3, 1)

Contents
--------
* Models: `Sequential`, `Graph` (branches, joins, several inputs and outputs), `Seq2Seq`, `CharLM`.
  `model.save(path)` writes one, `load(path)` reads it.
  `predict` runs one over any number of sequences, also from an iterator, and in several processes
  or on a cluster; `score_partition` runs one over data frames of Spark, Dask and Ray Data.
  `model.quantize("int8")` makes a smaller one.
* Recurrent layers: `RNN`, `LSTM`, `GRU`, `QRNN`, and `Recurrent` for any other cell.
* Other layers: `Embedding`, `OneHot`, `Linear`, `Conv1d`, `Dropout`, `LayerNorm`, `Attention`,
  `Last`, `MeanPool`, `MaxPool`, `Hold`, `ReLU`, `Tanh`, `Sigmoid`, `Softmax`, `Activation` by
  name, and `Residual` around others. `Add`, `Multiply` and `Concat` join the nodes of a `Graph`.
* Sequence labelling: `losses.ctc` with `ctc_greedy_decode` and `ctc_beam_search`, for labels that
  are not aligned with the steps; the layer `CRF` with `losses.crf` and `viterbi_decode`, for tags
  that depend on their neighbours.
* Training: `fit`, `evaluate`, `TruncatedBPTT`, and the modules `data`, `losses`, `metrics`,
  `optim`, `schedules`, `initialisers`. `training.checkpoint` saves and loads the state of a
  training. `fit(..., shards=, comm=)` shares it among processes of MPI, with the same bits for any
  number of them.
* Character models: `CharLM`, and `presets`, the recipes of published programs.
  `charlm.scoring.score_documents` gives the bits per character of each of many documents.
* Models of other programs: `from_torch`, `from_keras` and `from_onnx` read one, `to_torch`
  gives arrays by PyTorch's names, `to_onnx` an ONNX graph.
  `explain` says which equations layers compute, in which order their gates are.
* Cells: `cell` declares one, `gradcheck` checks gradients, `warmup` compiles ahead of time.
* Engines, the functions `init`, `forward`, `backward` and `step` of one cell without layers: `rnn`,
  `rnn_relu`, `lstm`, `gru`, `mgu`, `indrnn`, `mingru`, `minlstm`, `qrnn`, `sru`, or
  `Engine(cell)`.
* Estimators of scikit-learn's kind, which classify, predict numbers and forecast series: the
  module `sklearn`, imported when it is first read.
* What functions return and take: `Gradients`, `Directions` (also named `Both`), `Memory`.
* `set_num_threads` and `get_num_threads`.
* `release_memory` returns buffers that are kept for reuse to the system.

Shapes and dtypes
-----------------
T time steps, N sequences, D inputs, H units (hidden size), P projected outputs. Arrays are
time-major: x (T, N, D), y (T, N, H), each state (N, H). A single sequence drops N. With a
projection, y and h have P numbers and c has H. All arrays are float32 or all are float64; nothing
is cast.

Cells and gate order
--------------------
W x stands for W_ih x_t + b_ih, U h for W_hh h_{t-1} + b_hh; on the right, h and c are those of the
previous step, except that h = ... reads the new c. W_ih, W_hh and the biases have H rows for each
gate, in the order given here.

    cell     gates    states  equations
    rnn      h        h       h = tanh(W x + U h), or relu in `rnn_relu`
    lstm     i f g o  h c     i, f, o = sigmoid(W x + U h), g = tanh(W x + U h)
                              c = f c + i g,  h = o tanh(c)
    gru      r z n    h       r, z = sigmoid(W x + U h), n = tanh(W_n x + r U_n h)
                              h = (1 - z) n + z h
    mgu      f n      h       f = sigmoid(W x + U h), n = tanh(W_n x + f U_n h)
                              h = (1 - f) h + f n

The others have no W_hh and no b_hh; u, v_f and v_r have one number per unit.

    indrnn   h        h       h = relu(W x + u h)
    mingru   z n      h       z = sigmoid(W x), n = W_n x,  h = (1 - z) h + z n
    minlstm  f i n    h       f, i = sigmoid(W x) divided by their sum, n = W_n x,  h = f h + i n
    qrnn     z f o    h c     z = tanh(W x), f, o = sigmoid(W x)
                              c = f c + (1 - f) z,  h = o c
    sru      n f r s  h c     n, s = W x, f = sigmoid(W_f x + v_f c), r = sigmoid(W_r x + v_r c)
                              c = f c + (1 - f) n,  h = r c + (1 - r) s

Cells of papers, for layers such as `Recurrent("cfc", 5, 10)`: slstm, cfc, ltc, phased_lstm, grud,
janet, ligru, fastgrnn, multiplicative_lstm, nested_lstm and echo_state. `help(recurrent.cells)`
lists what equations of one's own can say.

`help(recurrent.LSTM)` and so on list the options.

Parameters
----------
Names, shapes, gate order and initialisation are PyTorch's (uniform in +-1/sqrt(H), embeddings
normal, linear layers +-1/sqrt(inputs), two bias vectors), so state dicts and training curves
compare one to one. `model.parameters.update(state_dict)` loads the state dict of a
`torch.nn.Sequential` of the same layers, each of them unstacked. `init=` chooses another
initialisation: "keras", "orthogonal", "char-rnn", "torch-rnn", "min-char-rnn", or a function such
as `initialisers.Chrono`. Values assigned to `model.parameters[name]` are copied into `model.flat`,
the vector of all parameters, which optimisers update.

Sequences of different lengths
------------------------------
`lengths` (N,) gives the number of valid time steps of each sequence; zero is allowed. Past a
length y is zero, and the final state is that of the last valid step. A boolean mask (T, N) in
place of the lengths may have gaps: a masked step leaves the state as it is, and y is zero there,
as with Keras' `zero_output_for_mask`; a `Hold` layer repeats the last valid output instead. A
list of arrays (T_i, D) is padded for you, and y is such a list. With it targets and dy are lists
too, in losses, `backward`, `fit` and `evaluate`; their means are over the valid entries alone.

Both directions
---------------
`bidirectional=True` adds a second set of weights, whose names end in `_reverse`. It starts at the
last valid step; y is aligned with x. States and their gradients are `Directions(forward,
reverse)`; `state.summary` has seen the whole sequence.
`reverse=True` is a layer of the second direction alone, with plain names: its final state is that
after the first step, and `Last(reverse=True)` takes that step.

Dropout
-------
Dropout acts in a recorded forward pass, unless `training=False`. `Dropout(p)` acts between
layers, `Dropout(p, per="sequence")` is variational dropout. Inside a recurrent layer,
`recurrent_dropout` acts on the hidden state, `weight_drop` on W_hh (DropConnect) and `zoneout`
keeps previous states.

Long sequences
--------------
`fit(..., checkpoint_every=1000)`, and `TruncatedBPTT(model, checkpoint_every=1000)` in a loop of
your own, keep the state of every 1,000th step instead of all that the backward pass needs, and
compute the steps between again. The gradient over 100,000 steps has the same bits, in a fraction of
the memory and 0.4 to 1.3 times the time. `look_back` truncates the gradient instead.

Reproducible bits
-----------------
Every element of a product is one chain of fused multiply-adds in a fixed order. So a sequence
gives the same bits alone, in any batch, with any padding, on any number of threads, and in one
call, in chunks or step by step, on one machine. tanh is accurate to 6 ulp (units in the last place)
in float32 and to 4 ulp in float64; other libraries' results differ in the last digits.

Arrays that are read later
--------------------------
A tape refers to x and to the parameters. `backward` raises an error if an update or an assignment
changed the parameters after `forward`. It compares three entries of each, so it does not see that
a few others were changed in place; nor does it see a change of x. `out=` must not share memory with
the parameters, x or dy. A masked array with a masked entry is refused: pass `lengths` or a mask.

Quantised weights
-----------------
`small = model.quantize("int8")` or `"bfloat16"` holds matrices in 8 or 16 bits a weight, for
inference where the weights do not fit the cache; vectors, x, states and arithmetic stay float32.
Results are those of `small.dequantized()`, the float32 model with the rounded weights, bit for bit.
int8 has one scale for each row of a matrix. A quantised model runs, streams, generates and is saved
as any other. It cannot be trained: train the float32 model, and quantise it afterwards.

What it promises
----------------
Each promise with the test that proves it, in the folder tests of the source:

* Results are those of the equations, written out in NumPy.
  engine/test_naive.py::test_forward_equals_naive_loops
* Gradients are exact: those by complex step differ by rounding alone.
  engine/test_gradients.py::test_every_entry_by_complex_step
* Weights and initial values are PyTorch's, and so is a training.
  engine/test_parity_torch.py::test_names_and_shapes_are_those_of_a_torch_sequential
  training/test_parity_training.py::test_the_first_hundred_losses_are_those_of_torch
* A sequence gives the same bits alone and in any batch, with any padding.
  engine/test_invariants.py::test_a_row_of_a_batch_equals_the_sequence_alone
  engine/test_invariants.py::test_longer_padding_changes_nothing
* One call, chunks and single steps give the same bits.
  engine/test_invariants.py::test_two_chunks_with_carried_state_equal_one_call
  engine/test_invariants.py::test_a_stream_equals_the_sequence_call
* Any number of threads, and calls from many threads, give the same bits.
  kernels/test_threads.py::test_model
  engine/test_invariants.py::test_calls_from_many_threads_are_independent
* Calls in any order change only what they are meant to change.
  test_stateful.py::TestSession
* A call that fails changes nothing; its error is one line.
  test_bad_input.py::test_a_failed_call_changes_nothing
* A model that is saved and loaded is the same; a file that is something else is told by what it is.
  models/test_loading.py::test_a_model_comes_back_as_it_was
  models/test_loading.py::test_another_file_is_named_by_what_it_is
* A model of PyTorch comes in and goes out with the same bits.
  interchange/test_torch.py::test_values_come_back_bit_for_bit
* A quantised model has the bits of its rounded weights, on every path and from a file.
  models/test_quantized_stacks.py::test_any_stack
  models/test_quantized_files.py::test_a_quantised_model_comes_back_as_it_was
* `predict` gives each sequence the bits that it has alone.
  models/test_predict.py::test_a_list_has_the_bits_of_each_sequence_alone
* It gives the same bits from an iterator and in several processes, also if one of them is killed.
  models/test_predict_jobs.py::test_processes_change_no_bit
  models/test_predict_jobs.py::test_a_killed_worker_loses_no_output
* A row of a data frame has them in any partition.
  models/test_score_partition.py::test_texts_have_the_bits_that_they_have_alone
  models/test_score_partition.py::test_numbers_have_the_bits_of_predict
* Many documents at once have the bits per character that each has alone.
  charlm/test_scoring.py::test_each_document_has_the_value_that_it_has_alone
* An estimator gives a sample the same bits alone, in any batch and in any order.
  sklearn_api/test_estimators.py::test_a_sample_has_the_same_bits_alone_in_any_batch_and_order
* A forecast sees no value after its cutoff; new values count alike one by one and at once.
  sklearn_api/test_forecaster.py::test_no_forecast_sees_a_value_after_its_cutoff
  sklearn_api/test_forecaster.py::test_one_by_one_and_at_once_give_the_same_bits
* Intervals hold their share of the values to come of series that go on as they were.
  sklearn_api/test_conformal.py::test_coverage_of_held_out_values
* Training that stops and resumes has the bits of training without a break.
  training/test_checkpoint.py::test_a_resumed_training_has_the_same_bits
* Ctrl-C and SIGTERM end training at an update and change no bit.
  training/test_interrupt.py::test_a_signal_at_any_moment_changes_no_bit
  training/test_interrupt.py::test_a_character_model_is_saved_whatever_the_signal_hits
* A kill or a full disk at any moment loses no checkpoint.
  cli/test_kills.py::test_a_kill_loses_no_checkpoint
  cli/test_kills.py::test_a_full_disk_loses_no_checkpoint
* A save that fails leaves the old file, and readers see whole files only.
  training/test_checkpoint.py::test_a_save_that_fails_leaves_the_old_file_and_no_other
  training/test_checkpoint.py::test_readers_see_whole_checkpoints_while_threads_save
* A changed bit of a checkpoint is found when it is loaded.
  training/test_checkpoint.py::test_a_flipped_bit_and_exchanged_arrays_are_found
* A hostile checkpoint is refused in one line, in little time and memory.
  training/test_hostile_checkpoints.py::test_a_few_hundred_mutated_files
  training/test_checkpoint.py::test_sizes_are_compared_with_the_file_before_anything_is_made
* No checkpoint or text is unpickled, and no module opens a connection.
  test_packaging.py::test_no_module_unpickles_or_opens_a_connection
* Back-propagation in segments changes no bit and takes a fraction of the memory.
  training/test_segments.py::test_segments_change_no_bit
  training/test_segments.py::test_segments_take_little_memory
* A damaged or full cache of compiled kernels stops no computation.
  kernels/test_cache.py::test_a_damaged_file_is_replaced_and_the_user_told_once
  kernels/test_cache.py::test_a_full_disk_is_told_once
* Training takes the memory that `plan` says.
  models/test_memory_plan.py::test_training_takes_the_planned_memory
* Kernels allocate nothing per step, and no memory is kept from update to update.
  kernels/test_allocation.py::test_kernels_allocate_nothing_per_step
  kernels/test_allocation.py::test_training_keeps_no_memory_from_update_to_update
* Text stays text in pictures and pages; a broken renderer is stopped.
  viz/test_escaping.py::test_no_text_ends_its_dot_string
  viz/test_render.py::test_a_broken_renderer_is_stopped_and_gives_a_one_line_error

Environment variables
---------------------
NUMBA_NUM_THREADS sets the number of threads, which `set_num_threads` lowers, NUMBA_CACHE_DIR the
folder of compiled kernels. NUMBA_DISABLE_JIT=1 runs the NumPy reference, which is very slow. On
Linux, worker threads keep off the processor of the calling thread; RECURRENT_PIN_WORKERS=0 leaves
their placement to the system.
"""

# First, because it handles Ctrl-C during the imports that follow.
from .training import signals as _signals  # noqa: F401  # isort: skip
import sys as _sys

from . import cells, data, initialisers, losses, metrics, optim, schedules
from .charlm import presets
from .charlm.model import CharLM
from .charlm.partition import score_partition
from .checks.guided import module_getattr as _module_getattr
from .engine.bidirectional import Directions
from .engine.engine import Engine
from .gradcheck import gradcheck
from .interchange import explain, from_keras, from_onnx, from_torch, to_onnx, to_torch
from .kernels.memory import release as release_memory
from .kernels.threads import get_num_threads, set_num_threads
from .layers import (
    CRF,
    GRU,
    LSTM,
    QRNN,
    RNN,
    Activation,
    Add,
    Attention,
    Concat,
    Conv1d,
    Dropout,
    Embedding,
    Gradients,
    Hold,
    Last,
    LayerNorm,
    Linear,
    MaxPool,
    MeanPool,
    Memory,
    Multiply,
    OneHot,
    Recurrent,
    ReLU,
    Residual,
    Sigmoid,
    Softmax,
    Tanh,
)
from .losses.decoding import ctc_greedy_decode, viterbi_decode
from .models.graph_model import Graph
from .models.loading import load
from .models.predict import predict
from .models.prefix_search import ctc_beam_search
from .models.seq2seq import Seq2Seq
from .models.sequential import Sequential
from .training.bptt import TruncatedBPTT
from .training.fit import evaluate, fit
from .user_cells import cell
from .warmup import warmup

# After the imports: an extension module that needs the GIL has switched it on by now.
if not getattr(_sys, "_is_gil_enabled", lambda: True)():
    raise ImportError(
        "recurrent is not tested without Python's GIL: set the environment variable PYTHON_GIL=1, "
        "or use a build of Python that is not free-threaded"
    )

Both = Directions
rnn, rnn_relu, lstm, gru = map(Engine, (cells.rnn, cells.rnn_relu, cells.lstm, cells.gru))
mgu, indrnn, mingru, minlstm, qrnn, sru = map(
    Engine, (cells.mgu, cells.indrnn, cells.mingru, cells.minlstm, cells.qrnn, cells.sru)
)

__version__ = "0.1.0"
__getattr__ = _module_getattr(__name__, lazy=["sklearn"])
__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "QRNN",
    "RNN",
    "Activation",
    "Add",
    "Attention",
    "Both",
    "CharLM",
    "Concat",
    "Conv1d",
    "Directions",
    "Dropout",
    "Embedding",
    "Engine",
    "Gradients",
    "Graph",
    "Hold",
    "Last",
    "LayerNorm",
    "Linear",
    "MaxPool",
    "MeanPool",
    "Memory",
    "Multiply",
    "OneHot",
    "ReLU",
    "Recurrent",
    "Residual",
    "Seq2Seq",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "TruncatedBPTT",
    "cell",
    "ctc_beam_search",
    "ctc_greedy_decode",
    "data",
    "evaluate",
    "explain",
    "fit",
    "from_keras",
    "from_onnx",
    "from_torch",
    "get_num_threads",
    "gradcheck",
    "gru",
    "indrnn",
    "initialisers",
    "load",
    "losses",
    "lstm",
    "metrics",
    "mgu",
    "mingru",
    "minlstm",
    "optim",
    "predict",
    "presets",
    "qrnn",
    "release_memory",
    "rnn",
    "rnn_relu",
    "schedules",
    "score_partition",
    "set_num_threads",
    "sru",
    "to_onnx",
    "to_torch",
    "viterbi_decode",
    "warmup",
]
