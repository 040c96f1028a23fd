"""The counts that workers share."""

from mnist_edge.serving.metrics import MODELS, Metrics, Tally


def test_a_version_that_is_served_is_counted_though_many_were_before() -> None:
    metrics = Metrics(1)
    row = metrics.row(0)
    for version in range(2 * MODELS):  # as many reloads
        row.keep([("lenet", str(version)), ("vgg", "1")])
        for name, of in (("lenet", str(version)), ("vgg", "1")):
            counts = row.model(name, of, "0123456789")
            assert counts is not None
            counts.add(Tally([(7, 1)], [(2, 1)], 0.75))
    text = metrics.text()
    assert f'mnist_edge_answers_total{{model="lenet",version="{2 * MODELS - 1}",digit="7"}} 1\n' in text
    assert f'mnist_edge_answers_total{{model="vgg",version="1",digit="7"}} {2 * MODELS}\n' in text


def test_more_models_than_there_is_room_for_are_not_counted() -> None:
    row = Metrics(1).row(0)
    many = [(f"m{number}", "1") for number in range(MODELS + 1)]
    row.keep(many)
    assert [row.model(*one, "01") is None for one in many] == [False] * MODELS + [True]
