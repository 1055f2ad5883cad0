import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.decompose.core.products import Products


@given(st.integers(0, 10_000))
def test_sums_of_products_multiply_like_the_matrix_they_stand_for(seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    a, b, c, d, weight, rows = draw(5, 2), draw(2, 7), draw(5, 3), draw(3, 7), draw(7, 4), draw(5, 1)
    total = Products(((a, b),)) + Products(((c, d),))
    torch.testing.assert_close(total @ weight, (a @ b + c @ d) @ weight)
    torch.testing.assert_close((total * rows).dense(), (a @ b + c @ d) * rows)
