import pytest


def test_a_component_is_explained_by_its_inputs_and_outputs(exact, batch):
    found = exact.explain("0", 1, batch, n_top=5)
    assert all({2, 3} & set(inputs) for inputs in found.top_inputs)
    assert found.moved[0][0] == 1
    assert found.moved[0][1] > 0
    assert found.neuron == (1, pytest.approx(1.0))
    assert abs(found.singular[1]) == pytest.approx(1.0)
    assert 0.1 < found.share < 0.3
