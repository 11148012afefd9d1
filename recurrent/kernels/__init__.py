"""Kernels: the numerical work of engine, layers, losses and optimisers, behind one protocol.

`backend` is the module that runs: `compiled`, whose kernels Numba and LLVM compile for a cell, a
dtype and the host's vector unit, or `reference`, plain NumPy, if NUMBA_DISABLE_JIT=1. Both
implement `Backend`, the only description of what a kernel takes and writes. Callers check shapes
and dtypes; kernels do not.

Conventions of `Backend`:

* All arrays are C-contiguous; a function writes to the arguments that it names as written and
  returns nothing else.
* real: the dtype of all floating-point arrays of a call, float32 or float64; `reference` takes
  complex128 too.
* Packed order: the S valid rows of N sequences, time step by time step, the longest sequence first.
  Step t has the rows offsets[t] to offsets[t + 1]; row n of each step belongs to the same sequence.
  A history of states has N + S rows, the N initial states first.
* D inputs, H hidden units, P values of h (H unless the cell projects them). Arrays with an axis H
  that hold a projected quantity use its first P columns.
* A accumulators (pre-activations of a unit), C = cell.columns (A and the products within a step), K
  arrays in cell.backward.saved, M masks in cell.masks, B arrays in cell.states, U in
  cell.parameters (one value per unit).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from numba import config

from . import reference

if TYPE_CHECKING:
    import numpy as np

    from ..equations.cell import Cell
    from ..equations.rules import Rule
    from .reference import Scratch


class Backend(Protocol):
    """The functions that the package calls on `backend`; a module implements them."""

    @property
    def DTYPES(self) -> tuple[str, ...]:
        """Names of the dtypes that it computes in."""
        ...

    # Recurrent layers

    def pack_forward(self, cell: Cell, params: Any) -> Any:
        """Return a copy of the weights in the layout that `forward` and `step` read.

        Parameters
        ----------
        cell : Cell
            The equations.
        params : NamedTuple of ndarray, real
            W_ih (rows of cell.x_rows, D), W_hh (rows of its gates, P), b_ih and b_hh (those rows,),
            W_hr (P, H) if the cell projects, then U arrays (H,). The matrices may be Quantized.
        """
        ...

    def forward(
        self,
        cell: Cell,
        x: np.ndarray,
        ids: np.ndarray,
        offsets: np.ndarray,
        weights: Any,
        h: np.ndarray,
        states: np.ndarray,
        saved: np.ndarray,
        masks: np.ndarray | None = None,
    ) -> None:
        """Run all time steps.

        Parameters
        ----------
        cell : Cell
            The equations.
        x : ndarray, shape (S, D), real
            Inputs in packed order; or a table, shape (V, D), whose rows `ids` selects.
        ids : ndarray, shape (S,) or (0,), int64
            The row of the table that each packed row reads; empty if x is in packed order itself.
        offsets : ndarray, shape (T + 1,), int64
            Offsets of the time steps.
        weights : object
            The packed weights from `pack_forward`.
        h : ndarray, shape (N + S, P), real
            History of the first state; written but for its initial states.
        states : ndarray, shape (B - 1, N + S, H) or (B - 1, N, H), real
            History of the other states, written like h; with N rows each state is updated in place.
        saved : ndarray, shape (S, K, H) or (0, 0, H), real
            Written unless empty: the values other than states that `backward` needs.
        masks : ndarray, shape (S, M, H), real, or None
            Dropout masks of each row; None for a cell without masks.
        """
        ...

    def step(
        self,
        cell: Cell,
        weights: Any,
        x: np.ndarray,
        h: np.ndarray,
        states: np.ndarray,
        now: int,
        y: np.ndarray,
    ) -> None:
        """Run one time step, for streaming; the states before it stay as they are.

        Parameters
        ----------
        cell : Cell
            The equations.
        weights : object
            The packed weights from `pack_forward`.
        x : ndarray, shape (N, D), real
            Inputs.
        h : ndarray, shape (2, N, P), real
            The first state in h[now]; the new one is written to h[1 - now].
        states : ndarray, shape (2, B - 1, N, H), real
            The other states, likewise.
        now : int
            Which half holds the states before the step, 0 or 1.
        y : ndarray, shape (N, P), real
            Written: the new first state.
        """
        ...

    def chain(self, links: list[tuple], N: int, axes: int) -> Any:
        """Return one time step of several layers as a function (x, now, y), or None.

        It writes y, the output of the last layer, and the states as `step` does. None if the layers
        are to be run one after the other, because threads share the work of one of them.

        Parameters
        ----------
        links : list of tuple
            For each layer (weights, h, states) as `step` takes them, (weights,) as `linear`, or
            (rule, width, dtype) for y = f(x) by a rule of x and y.
        N : int
            Number of sequences.
        axes : int
            Number of axes of x and y, C-contiguous: 2, or 1 for a single sequence.
        """
        ...

    def pack_backward(self, cell: Cell, params: Any) -> Any:
        """Return a copy of the weights in the layout that `backward` reads.

        Parameters
        ----------
        cell : Cell
            The equations.
        params : NamedTuple of ndarray, real
            The parameters, as in `pack_forward`.
        """
        ...

    def backward(
        self,
        cell: Cell,
        dy: np.ndarray,
        offsets: np.ndarray,
        weights: Any,
        h: np.ndarray,
        states: np.ndarray,
        saved: np.ndarray,
        carry: np.ndarray,
        da: np.ndarray,
        dp: np.ndarray,
        state_gradients: np.ndarray,
        masks: np.ndarray | None = None,
    ) -> None:
        """Run back-propagation through time.

        Parameters
        ----------
        cell : Cell
            The equations.
        dy : ndarray, shape (S, P), real
            Gradient with respect to the output.
        offsets : ndarray, shape (T + 1,), int64
            Offsets of the time steps.
        weights : object
            The packed weights from `pack_backward`.
        h : ndarray, shape (N + S, P), real
            From `forward`.
        states : ndarray, shape (B - 1, N + S, H), real
            From `forward`.
        saved : ndarray, shape (S, K, H), real
            From `forward`.
        carry : ndarray, shape (B, N, H), real
            Gradient with respect to the final states, replaced by that with respect to the initial
            states.
        da : ndarray, shape (S, C, H), real
            Written: gradients with respect to the accumulators and to the products within a step.
        dp : ndarray, shape (N, U, H), real
            Each sequence's gradients with respect to the parameters of each unit are added.
        state_gradients : ndarray, shape (B, S, H) or (0, 0, H), real
            Written unless empty: gradients of the loss with respect to every state after every
            step.
        masks : ndarray, shape (S, M, H), real, or None
            The dropout masks, as in `forward`.
        """
        ...

    def gradient_of_input(self, cell: Cell, da: np.ndarray, params: Any, dx: np.ndarray) -> None:
        """Compute the gradient with respect to x from that with respect to the accumulators.

        Parameters
        ----------
        cell : Cell
            The equations.
        da : ndarray, shape (S, C, H), real
            From `backward`, or its sums over the rows that read one row of a table.
        params : NamedTuple of ndarray, real
            The parameters, as in `pack_forward`.
        dx : ndarray, shape (S, D), real
            Written.
        """
        ...

    def gradient_of_weights(
        self,
        cell: Cell,
        da_x: np.ndarray,
        x: np.ndarray,
        da: np.ndarray,
        dp: np.ndarray,
        h: np.ndarray,
        previous: np.ndarray,
        vectors: list[np.ndarray],
        dparams: Any,
    ) -> None:
        """Add the gradients of all parameters, sums over rows or sequences, the last one first.

        Parameters
        ----------
        cell : Cell
            The equations.
        da_x : ndarray, shape (rows of x, C, H), real
            da itself; or its sums over the rows that read one row of a table.
        x : ndarray, shape (rows, D), real
            Inputs in packed order, or the rows of a table.
        da : ndarray, shape (S, C, H), real
            From `backward`.
        dp : ndarray, shape (N, U, H), real
            From `backward`.
        h : ndarray, shape (N + S, P), real
            From `forward`.
        previous : ndarray, shape (S,) or (0,), int64
            The row of h that each packed row starts from; empty for rows 0 to S - 1.
        vectors : list of ndarray, shape (S, H), real
            The vectors that are multiplied by weights within a step, one for each of cell.products.
        dparams : NamedTuple of ndarray, real
            Updated in place: the gradients are added. Shapes as in `pack_forward`.
        """
        ...

    def scratch(
        self,
        cell: Cell,
        sizes: tuple[int, int, int],
        S: int,
        N: int,
        known: int,
        looked_up: bool,
        dtype: np.dtype,
    ) -> Scratch:
        """Return the memory that the functions above allocate at the same time, in bytes.

        Parameters
        ----------
        cell : Cell
            The equations.
        sizes : tuple of int
            (D, H, P).
        S : int
            Packed rows.
        N : int
            Sequences.
        known : int
            Rows of x: S, or those of a table.
        looked_up : bool
            Whether x is a table.
        dtype : dtype
            float32 or float64.
        """
        ...

    # Linear layers and embeddings

    def pack_linear(self, W: np.ndarray, b: np.ndarray) -> Any:
        """Return a copy of the weights in the layout that `linear` reads.

        Parameters
        ----------
        W : ndarray or Quantized, shape (M, K), real
            Weights.
        b : ndarray, shape (M,), real
            Biases.
        """
        ...

    def linear(self, x: np.ndarray, weights: Any, y: np.ndarray) -> None:
        """Compute y = x W' + b.

        Parameters
        ----------
        x : ndarray, shape (S, K), real
            Inputs.
        weights : object
            The packed weights from `pack_linear`.
        y : ndarray, shape (S, M), real
            Written.
        """
        ...

    def linear_backward(
        self,
        dy: np.ndarray,
        x: np.ndarray,
        W: np.ndarray,
        dx: np.ndarray,
        dW: np.ndarray,
        db: np.ndarray,
    ) -> None:
        """Compute the gradient of x, and add those of W and b, the last row first.

        Parameters
        ----------
        dy : ndarray, shape (S, M), real
            Gradient with respect to y.
        x : ndarray, shape (S, K), real
            Inputs.
        W : ndarray, shape (M, K), real
            Weights.
        dx : ndarray, shape (S, K) or (0, K), real
            Written unless empty: the gradient with respect to x.
        dW : ndarray, shape (M, K), real
            Updated in place.
        db : ndarray, shape (M,), real
            Updated in place.
        """
        ...

    def linear_scratch(self, M: int, K: int, S: int, dtype: np.dtype) -> tuple[int, int]:
        """Return the memory of packed weights, and what `linear_backward` allocates, in bytes.

        Parameters
        ----------
        M : int
            Outputs.
        K : int
            Inputs.
        S : int
            Rows.
        dtype : dtype
            float32 or float64.
        """
        ...

    def column_sums(self, a: np.ndarray, out: np.ndarray) -> None:
        """Add all rows of a to out, the last one first.

        Parameters
        ----------
        a : ndarray, shape (S, K), real
            The rows to add.
        out : ndarray, shape (K,), real
            Updated in place.
        """
        ...

    def scatter_add(self, dW: np.ndarray, ids: np.ndarray, dy: np.ndarray) -> None:
        """Add dy[s] to dW[ids[s]], the last s first.

        Parameters
        ----------
        dW : ndarray, shape (V, E), real
            Updated in place.
        ids : ndarray, shape (S,), any integer dtype
            Rows of dW.
        dy : ndarray, shape (S, E), real
            The rows to add.
        """
        ...

    # Attention: a product or a softmax for each of N sequences

    def rows_by_rows(
        self, a: np.ndarray, b: np.ndarray, counts: np.ndarray, out: np.ndarray
    ) -> None:
        """Compute out = a b' for each sequence.

        Parameters
        ----------
        a : ndarray, shape (N, S, K), real
            Left factors; their numbers lie side by side, rows and sequences anywhere.
        b : ndarray, shape (N, M, K), real
            Right factors, in memory like a.
        counts : ndarray, shape (N,), int64
            Rows of each b that count, from 0 to M; the others are not read.
        out : ndarray, shape (N, S, M), real
            Written, in memory like a; zeros where rows of b do not count.
        """
        ...

    def rows_by_columns(
        self, a: np.ndarray, b: np.ndarray, counts: np.ndarray, out: np.ndarray
    ) -> None:
        """Compute out = a b for each sequence.

        Parameters
        ----------
        a : ndarray, shape (N, S, K), real
            Left factors; their numbers lie side by side, rows and sequences anywhere.
        b : ndarray, shape (N, K, M), real
            Right factors, in memory like a.
        counts : ndarray, shape (N,), int64
            Columns of each a and rows of b that count, from 0 to K; the others are not read.
        out : ndarray, shape (N, S, M), real
            Written, in memory like a.
        """
        ...

    def columns_by_columns(
        self, a: np.ndarray, b: np.ndarray, counts: np.ndarray, out: np.ndarray
    ) -> None:
        """Compute out = a' b for each sequence.

        Parameters
        ----------
        a : ndarray, shape (N, S, K), real
            Left factors; their numbers lie side by side, rows and sequences anywhere.
        b : ndarray, shape (N, S, M), real
            Right factors, in memory like a.
        counts : ndarray, shape (N,), int64
            Columns of each a that count, from 0 to K; the others are not read.
        out : ndarray, shape (N, K, M), real
            Written, in memory like a; zeros where columns of a do not count.
        """
        ...

    def softmax(self, scores: np.ndarray, valid: np.ndarray) -> None:
        """Replace each row by its softmax over the valid entries.

        Parameters
        ----------
        scores : ndarray, shape (N, S, M), real
            Replaced: zeros at entries that are not valid, and everywhere if none is.
        valid : ndarray, shape (N, M), bool
            The valid entries of each sequence.
        """
        ...

    def softmax_backward(self, weights: np.ndarray, d: np.ndarray) -> None:
        """Replace the gradient with respect to the softmax by that with respect to the scores.

        Parameters
        ----------
        weights : ndarray, shape (N, S, M), real
            From `softmax`.
        d : ndarray, shape (N, S, M), real
            Replaced.
        """
        ...

    # Losses and optimisers

    def apply_rule(
        self, rule: Rule, numbers: dict[str, float], arrays: dict[str, np.ndarray], block: int
    ) -> None:
        """Apply a rule to every entry of its arrays.

        Parameters
        ----------
        rule : Rule
            The equations of one entry.
        numbers : dict of float
            Values of the rule's numbers by name.
        arrays : dict of ndarray, shape (size,), real
            The rule's arrays by name, updated in place; others are ignored.
        block : int
            Entries that a thread, or NumPy, takes at a time, so that they stay in cache.
        """
        ...

    def sums_of_squares(self, x: np.ndarray, block: int, sums: np.ndarray) -> None:
        """Compute the sum of squares of each block of x.

        Parameters
        ----------
        x : ndarray, shape (size,), real
            The entries.
        block : int
            Entries in a block; the last one may have fewer.
        sums : ndarray, shape (blocks,), float64
            Written.
        """
        ...

    def softmax_cross_entropy(
        self,
        logits: np.ndarray,
        ids: np.ndarray,
        valid: np.ndarray,
        count: int,
        dy: np.ndarray,
        losses: np.ndarray,
    ) -> None:
        """Compute -log softmax(logits)[id] of every row, and the gradient of their sum / `count`.

        Parameters
        ----------
        logits : ndarray, shape (S, V), real
            Unnormalised log-probabilities.
        ids : ndarray, shape (S,), int64
            Targets in 0..V-1, even in rows that are not valid.
        valid : ndarray, shape (S,) or (0,), bool
            Rows whose loss is counted; empty if all rows are valid.
        count : int
            The divisor of the sum of the losses.
        dy : ndarray, shape (S, V), real
            Written: zeros in rows that are not valid.
        losses : ndarray, shape (S,), float64
            Written: zeros in rows that are not valid.
        """
        ...


backend: Backend
if config.DISABLE_JIT:
    backend = reference
else:
    from . import compiled as backend

__all__ = ["Backend", "backend", "reference"]
