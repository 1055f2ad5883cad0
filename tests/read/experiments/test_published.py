from digsite.record import read_results


def test_every_defect_has_its_measured_effect(smoke):
    claims = {c.name: c for c in read_results(smoke("nwa-as-published").results).claims}
    assert claims["leak/targets_in_input"].value >= 4
    assert claims["batch_graph/distinct_answers_of_8"].value == 1
    assert claims["leak/r2_with_answers"].value > claims["leak/r2_without_answers"].value
    assert claims["two_test_networks/median_r2"].value < 0
    assert "honest/test_accuracy/tau" in claims
