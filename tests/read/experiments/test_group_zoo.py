from digsite.record import read_results


def test_shares_are_the_sources_and_irreps_are_read_above_their_null(smoke, data_dir, monkeypatch):
    monkeypatch.setenv("DIGSITE_DATA", str(data_dir))
    claims = {c.name: c for c in read_results(smoke("group-zoo").results).claims}
    assert claims["input_shares/largest_difference_to_source"].value < 1e-6
    assert claims["irreps/accuracy"].value > claims["irreps/accuracy"].null
    assert claims["irreps/auroc"].value > 0.95
