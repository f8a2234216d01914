"""The Frechet distance of two sets of features."""

import torch
from torch import Tensor


def frechet_distance(fake_features: Tensor, real_features: Tensor) -> float:
    """Squared Frechet distance of the Gaussians with the sets' means and covariances.

    Features are (N, D) and (M, D), at least two rows each; computed in float64. Rounding can take
    the distance of equal sets below zero, which is cut off. NaN where a feature is not finite.
    Source: Heusel et al. 2017 (FID), equation 6; Dowson and Landau 1982.
    """
    if min(len(fake_features), len(real_features)) < 2:
        raise ValueError("a covariance needs at least two rows of features")
    fake, real = fake_features.detach().double(), real_features.detach().double()
    if not (fake.isfinite().all() and real.isfinite().all()):
        return float("nan")
    means = (fake.mean(0) - real.mean(0)).square().sum()
    fake_covariance, real_covariance = (
        torch.cov(rows.T).reshape(rows.shape[1], rows.shape[1]) for rows in (fake, real)
    )
    # tr (A B)^1/2 = tr (A^1/2 B A^1/2)^1/2, of a symmetric matrix without negative eigenvalues.
    values, vectors = torch.linalg.eigh(fake_covariance)  # it may be rank-deficient
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ real_covariance @ root).clamp(min=0).sqrt().sum()
    distance = means + fake_covariance.trace() + real_covariance.trace() - 2 * cross
    return max(0.0, float(distance))
