"""The loops of CTC and of a linear-chain CRF: sums and best paths over a lattice of labels.

They work in log space and in float64, sequence by sequence, so a sequence has the same bits alone,
in any batch and on any number of threads. They stand here and not in `kernels`, because they depend
on nothing but this file: a change of one of them compiles no other kernel again.

Step k of sequence n is row times[k, n] of y. -inf is the logarithm of 0.
"""

from __future__ import annotations

import numpy as np

from ..kernels.jit import jit

NONE = -1  # no node, no label


@jit
def log_add(a, b):
    """Compute log(exp(a) + exp(b)); NaN propagates."""
    most, least = (a, b) if a >= b else (b, a)
    if least == -np.inf:
        return most
    return most + np.log1p(np.exp(least - most))


@jit
def log_add_3(a, b, c):
    """Compute log(exp(a) + exp(b) + exp(c)); NaN propagates."""
    most = max(a, b, c)
    if most == -np.inf:
        return a + b + c
    return most + np.log(np.exp(a - most) + np.exp(b - most) + np.exp(c - most))


@jit
def log_sum(values, count):
    """Compute log(sum(exp(values[:count]))); NaN propagates."""
    most = -np.inf
    for k in range(count):
        if values[k] > most:
            most = values[k]
    shift = most if most > -np.inf else 0.0
    total = 0.0
    for k in range(count):
        total += np.exp(values[k] - shift)
    return shift + np.log(total)


@jit
def softmax_in_place(values, count):
    """Replace values by their softmax, zeros if all are -inf; return log(sum(exp(values)))."""
    total = log_sum(values, count)
    shift = total if total != -np.inf else 0.0
    for k in range(count):
        values[k] = np.exp(values[k] - shift)
    return total


@jit
def log_softmax(row, count, log_p):
    """Compute the logarithms of softmax(row), (V,), in float64."""
    for k in range(count):
        log_p[k] = row[k]
    total = log_sum(log_p, count)
    for k in range(count):
        log_p[k] -= total


# CTC


@jit
def label_at(target, s, blank):
    """Return label s of a target with blanks around each label: blank, target[0], blank, ..."""
    return blank if s % 2 == 0 else target[s // 2]


@jit
def can_skip(target, s):
    """Say whether the blank before place s may be left out: between two different labels."""
    return s % 2 == 1 and s >= 3 and target[s // 2] != target[s // 2 - 1]


@jit
def band(t, steps, places):
    """Return the first place that can still reach the end, and that after the last reached one."""
    return max(0, places - 2 * (steps - t)), min(places, 2 * t + 2)


@jit
def ctc_loss(
    first, last, y, times, steps, targets, sizes, blank, zero_infinity, scales, losses, dy
):
    """Compute -log p(target) of the sequences first to last, and its gradient times their scale.

    Section 4.1 of Graves et al. (2006): alpha[t, s] is the log probability of all beginnings that
    are at place s after step t, beta[s] that of all ends from there on.

    y, dy: (T, N, V). times: (T, N). steps, sizes, scales, losses: (N,). targets: (N, S). dy comes
    as zeros.
    """
    T, V = len(y), y.shape[2]
    P = 2 * targets.shape[1] + 1
    log_p, share = np.empty((T, V)), np.empty(V)
    alpha, beta, after = np.empty((T, P)), np.empty(P), np.empty(P)
    for n in range(first, last):
        target, places = targets[n], 2 * sizes[n] + 1
        if steps[n] == 0 or scales[n] == 0:
            losses[n] = 0.0
            continue
        alpha[:, :places] = -np.inf
        for t in range(steps[n]):
            log_softmax(y[times[t, n], n], V, log_p[t])
            low, high = band(t, steps[n], places)
            for s in range(low, high):
                if t == 0:
                    before = 0.0
                elif can_skip(target, s):
                    before = log_add_3(alpha[t - 1, s], alpha[t - 1, s - 1], alpha[t - 1, s - 2])
                elif s > 0:
                    before = log_add(alpha[t - 1, s], alpha[t - 1, s - 1])
                else:
                    before = alpha[t - 1, s]
                alpha[t, s] = before + log_p[t, label_at(target, s, blank)]
        end = alpha[steps[n] - 1]
        total = end[places - 1]
        if places > 1:
            total = log_add(total, end[places - 2])
        losses[n] = -total
        if total == -np.inf:
            if zero_infinity:
                losses[n] = 0.0
            else:
                for t in range(steps[n]):
                    dy[times[t, n], n] = np.nan
            continue
        beta[:places] = -np.inf
        beta[max(0, places - 2) : places] = 0.0
        for t in range(steps[n] - 1, -1, -1):
            share[:] = 0.0
            low, high = band(t, steps[n], places)
            for s in range(low, high):
                share[label_at(target, s, blank)] += np.exp(alpha[t, s] + beta[s] - total)
            for k in range(V):
                dy[times[t, n], n, k] = scales[n] * (np.exp(log_p[t, k]) - share[k])
            for s in range(low, high):
                after[s] = beta[s] + log_p[t, label_at(target, s, blank)]
            after[max(0, low - 2) : low] = -np.inf
            low, high = band(t - 1, steps[n], places)
            for s in range(low, high):
                if s + 2 < places and can_skip(target, s + 2):
                    beta[s] = log_add_3(after[s], after[s + 1], after[s + 2])
                elif s + 1 < places:
                    beta[s] = log_add(after[s], after[s + 1])
                else:
                    beta[s] = after[s]


@jit
def child_of(node, label, labels, child, sibling):
    """Return the node of a prefix and one more label; NONE if there is none yet."""
    found = child[node]
    while found != NONE and labels[found] != label:
        found = sibling[found]
    return found


@jit
def keep_best(node, label, by_blank, by_label, kept, new, ends, blanks, others, totals):
    """Insert a candidate into the `kept` best so far, the best first; return how many there are.

    Of equal ones the first stays in front.
    """
    total = log_add(by_blank, by_label)
    k = kept
    while k > 0 and total > totals[k - 1]:
        k -= 1
    if k == len(new) or total == -np.inf:
        return kept
    kept = min(kept + 1, len(new))
    for j in range(kept - 1, k, -1):
        new[j], ends[j], totals[j] = new[j - 1], ends[j - 1], totals[j - 1]
        blanks[j], others[j] = blanks[j - 1], others[j - 1]
    new[k], ends[k], totals[k], blanks[k], others[k] = node, label, total, by_blank, by_label
    return kept


@jit
def ctc_prefixes(first, last, y, times, steps, blank, beam, ids, sizes, scores):
    """Search for the most probable labellings of the sequences first to last.

    A prefix is a node of a tree, with its last label and the prefix before it. Two sums are kept
    for each: over the alignments that end in a blank, and over those that end in its last label.

    y: (T, N, V). times: (T, N). steps: (N,). ids: (T, N, K). sizes, scores: (N, K).
    """
    T, V = len(y), y.shape[2]
    most = 1 + T * beam
    labels, parent = np.empty(most, np.int64), np.empty(most, np.int64)
    child, sibling = np.empty(most, np.int64), np.empty(most, np.int64)
    place = np.full(most, NONE, np.int64)  # of a node in the beam
    log_p = np.empty(V)
    nodes, by_blank, by_label = np.empty(beam, np.int64), np.empty(beam), np.empty(beam)
    new, ends = np.empty(beam, np.int64), np.empty(beam, np.int64)
    new_blank, new_label, totals = np.empty(beam), np.empty(beam), np.empty(beam)
    for n in range(first, last):
        labels[0], parent[0], child[0], count = NONE, NONE, NONE, 1
        nodes[0], by_blank[0], by_label[0], width = 0, 0.0, -np.inf, 1
        place[0] = 0
        for t in range(steps[n]):
            log_softmax(y[times[t, n], n], V, log_p)
            kept = 0
            for k in range(width):  # prefixes that stay as they are
                node = nodes[k]
                total = log_add(by_blank[k], by_label[k])
                repeated = -np.inf
                if node > 0:
                    c = labels[node]
                    repeated = by_label[k] + log_p[c]
                    above = place[parent[node]]
                    if above != NONE:  # the prefix before it gets this label now
                        source = log_add(by_blank[above], by_label[above])
                        if labels[parent[node]] == c:
                            source = by_blank[above]
                        repeated = log_add(repeated, source + log_p[c])
                kept = keep_best(
                    node, NONE, total + log_p[blank], repeated, kept,
                    new, ends, new_blank, new_label, totals,
                )  # fmt: skip
            for k in range(width):  # prefixes that get one more label
                node = nodes[k]
                for c in range(V):
                    if c == blank:
                        continue
                    known = child_of(node, c, labels, child, sibling)
                    if known != NONE and place[known] != NONE:
                        continue  # done above
                    source = by_blank[k]
                    if labels[node] != c:
                        source = log_add(source, by_label[k])
                    kept = keep_best(
                        node, c, -np.inf, source + log_p[c], kept,
                        new, ends, new_blank, new_label, totals,
                    )  # fmt: skip
            for k in range(width):
                place[nodes[k]] = NONE
            width = kept
            for k in range(width):
                node = new[k]
                if ends[k] != NONE:
                    found = child_of(node, ends[k], labels, child, sibling)
                    if found == NONE:
                        found = count
                        labels[found], parent[found], child[found] = ends[k], node, NONE
                        sibling[found], child[node], place[found] = child[node], found, NONE
                        count += 1
                    node = found
                nodes[k], by_blank[k], by_label[k] = node, new_blank[k], new_label[k]
            for k in range(width):
                place[nodes[k]] = k
        for k in range(width):
            place[nodes[k]] = NONE
            scores[n, k] = log_add(by_blank[k], by_label[k])
            node = nodes[k]
            while node > 0:
                sizes[n, k] += 1
                node = parent[node]
            node = nodes[k]
            for j in range(sizes[n, k] - 1, -1, -1):
                ids[j, n, k] = labels[node]
                node = parent[node]


@jit
def edit_distance(a, b):
    """Return how many labels must be inserted, deleted or replaced to turn a into b."""
    row = np.arange(len(b) + 1)
    for i in range(len(a)):
        before, row[0] = row[0], i + 1
        for j in range(len(b)):
            least = min(before + (a[i] != b[j]), row[j] + 1, row[j + 1] + 1)
            before, row[j + 1] = row[j + 1], least
    return row[len(b)]


# Linear-chain CRF. y: (T, N, K + 1, K + 1), the score of tag j after tag i; row K is the start,
# column K the end.


@jit
def crf_loss(first, last, y, times, steps, tags, scales, losses, dy):
    """Compute -log p(tags) of the sequences first to last, and its gradient times their scale.

    alpha[t, j] is the log of the sum over all beginnings with tag j at step t, beta[j] that over
    all ends. tags: (T, N), in the order of y. dy, of the shape of y, comes as zeros.
    """
    T, K = len(y), y.shape[2] - 1
    alpha, beta, after, sums = np.empty((T, K)), np.empty(K), np.empty(K), np.empty(K)
    for n in range(first, last):
        if steps[n] == 0 or scales[n] == 0:
            losses[n] = 0.0
            continue
        score = 0.0
        before = K
        for t in range(steps[n]):
            time = times[t, n]
            for j in range(K):
                if t == 0:
                    alpha[0, j] = y[time, n, K, j]
                    continue
                for i in range(K):
                    sums[i] = alpha[t - 1, i] + y[time, n, i, j]
                alpha[t, j] = log_sum(sums, K)
            score += y[time, n, before, tags[time, n]]
            before = tags[time, n]
        time = times[steps[n] - 1, n]
        score += y[time, n, before, K]
        for j in range(K):
            beta[j] = y[time, n, j, K]
            sums[j] = alpha[steps[n] - 1, j] + beta[j]
        total = log_sum(sums, K)
        losses[n] = total - score
        scale = scales[n]
        for j in range(K):
            dy[time, n, j, K] = scale * np.exp(sums[j] - total)
        dy[time, n, before, K] -= scale
        for t in range(steps[n] - 1, 0, -1):
            time, earlier = times[t, n], times[t - 1, n]
            for i in range(K):
                for j in range(K):
                    after[j] = y[time, n, i, j] + beta[j]
                sums[i] = softmax_in_place(after, K)
                share = scale * np.exp(alpha[t - 1, i] + sums[i] - total)
                for j in range(K):
                    dy[time, n, i, j] = share * after[j]
            dy[time, n, tags[earlier, n], tags[time, n]] -= scale
            for i in range(K):
                beta[i] = sums[i]
        time = times[0, n]
        for j in range(K):
            dy[time, n, K, j] = scale * np.exp(alpha[0, j] + beta[j] - total)
        dy[time, n, K, tags[time, n]] -= scale


@jit
def best_paths(first, last, y, times, steps, tags):
    """Write the tags with the highest score of the sequences first to last: Viterbi's algorithm.

    Of equal scores the lowest tag wins. tags: (T, N), which comes as zeros.
    """
    T, K = len(y), y.shape[2] - 1
    best, new, source = np.empty(K), np.empty(K), np.empty((T, K), np.int64)
    for n in range(first, last):
        if steps[n] == 0:
            continue
        for t in range(steps[n]):
            time = times[t, n]
            for j in range(K):
                if t == 0:
                    new[j] = y[time, n, K, j]
                    continue
                source[t, j], new[j] = 0, best[0] + y[time, n, 0, j]
                for i in range(1, K):
                    score = best[i] + y[time, n, i, j]
                    if score > new[j]:
                        source[t, j], new[j] = i, score
            best[:] = new
        time, tag = times[steps[n] - 1, n], 0
        for j in range(K):
            best[j] += y[time, n, j, K]
            if best[j] > best[tag]:
                tag = j
        for t in range(steps[n] - 1, -1, -1):
            tags[times[t, n], n] = tag
            if t > 0:
                tag = source[t, tag]
