from digsite.record import provenance


def test_provenance_names_code_packages_and_machine():
    found = provenance.collect_provenance(device="cpu", parent="20260101-0000-aaa")
    assert found["packages"]["torch"] and found["packages"]["digsite"]
    assert found["device"] == "cpu"
    assert found["parent"] == "20260101-0000-aaa"
    assert found["git"] is None or len(found["git"]["commit"]) == 40
