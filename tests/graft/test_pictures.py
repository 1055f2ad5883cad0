import torch
from hypothesis import given
from hypothesis import strategies as st

from digsite.graft.core.images import bend_images, cut_images, draw_strokes, piece_images, widen_images

X = torch.rand(20, 1, 12, 12, generator=torch.Generator().manual_seed(0))


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(0, 1000), st.sampled_from([bend_images, cut_images, piece_images]))
def test_pictures_stay_pictures(seed, change):
    out = change(X, draw(seed))
    assert out.shape == X.shape and out.min() >= X.min() - 1e-5 and out.max() <= X.max() + 1e-5
    assert torch.equal(out, change(X, draw(seed)))


def test_no_bend_is_the_image():
    still = bend_images(X, draw(), turn=0, zoom=0, shear=0)  # a shift is left
    assert still.shape == X.shape
    assert torch.equal(cut_images(X, draw(), share=0), X)


def test_pieces_come_from_two_images():
    flat = torch.arange(20.0)[:, None, None, None].expand(20, 1, 12, 12)
    made = piece_images(flat, draw())
    assert all(
        len(image.unique()) <= 2 and float(i) in image.unique().tolist() for i, image in enumerate(made)
    )


def test_widened_takes_any_number_and_leaves_vectors_alone():
    assert widen_images(X, 33, draw()).shape == (33, 1, 12, 12)
    rows = torch.randn(5, 7)
    assert all((row == rows).all(1).any() for row in widen_images(rows, 9, draw()))


def test_strokes_are_ink_on_paper():
    out = draw_strokes(30, (1, 28, 28), draw(), -0.4, 2.8)
    assert out.shape == (30, 1, 28, 28)
    assert out.min() >= -0.4 - 1e-4 and out.max() <= 2.8 + 1e-4
    share = (out > 1.2).float().mean((1, 2, 3))
    assert (share > 0.01).all() and (share < 0.5).all()
    assert torch.equal(out, draw_strokes(30, (1, 28, 28), draw(), -0.4, 2.8))
