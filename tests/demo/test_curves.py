"""The demo's curves: well-formed, inside their frame, and safe whatever the names say."""

import re
from xml.etree import ElementTree

from demo.curves import HEIGHT, WIDTH, Curve, Frame, Line, svg


def test_higher_values_lie_higher_and_nothing_leaves_the_picture() -> None:
    curve = Curve("KL", "update", [(1, 0.0), (2, 3.0), (3, 5.5)], Line(6.0, "budget"), Line(2, "kept"))
    picture = ElementTree.fromstring(svg(curve))
    points = [tuple(map(float, pair.split(","))) for pair in picture.find("polyline").attrib["points"].split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)
    for x, y in points:
        assert 0 < x < WIDTH
        assert 0 < y < HEIGHT
    limit = next(line for line in picture.iter("line") if line.attrib["class"] == "limit")
    assert float(limit.attrib["y1"]) < min(y for _, y in points), "the budget lies above every point"


def test_round_ticks_cover_any_range() -> None:
    for low, high in ((0.0, 1.0), (-3.2, 0.0004), (997.0, 1003.0), (2e-5, 3e-5)):
        ticks = Frame(0, 1, low, high).ticks()
        assert 2 <= len(ticks) <= 7
        assert all(low <= tick <= high for tick in ticks)


def test_one_point_and_equal_values_can_be_drawn() -> None:
    assert "<polyline" in svg(Curve("reward", "update", [(1, 0.0)]))
    assert "<polyline" in svg(Curve("reward", "update", [(1, 2.0), (2, 2.0)]))


def test_names_cannot_break_out_and_no_points_are_said_so() -> None:
    bad = '<script>"&'
    picture = svg(Curve(bad, bad, [(1, 1.0)], Line(2, bad), Line(1, bad)))
    ElementTree.fromstring(picture)
    assert "<script" not in picture
    assert re.search("reported no values", svg(Curve(bad, "", [])))
    assert "<script" not in svg(Curve(bad, "", []))
