"""The data sets that exports are compared on: some of scikit-learn's, and some that are awkward on purpose. Owns their rows and how
they are trained; does not know what is compared."""

import datetime
import random
from dataclasses import dataclass

from sklearn import datasets

# Names that end a string, a comment or a script where they are not escaped.
HOSTILE = ['a"b\n*/ #include <stdio.h>', "</script><!--", "\u00e9t\u00e9 \u6728 \\ \u20281", "what??/ %s {0} '"]


@dataclass
class Table:
    """A file and how it is trained. The label is the last column, or what the options say."""

    title: str
    names: list
    rows: list
    options: tuple = ()


def _of_sklearn(title, bunch, *options):
    classes = [str(name) for name in bunch.target_names]
    rows = [[*map(repr, map(float, x)), classes[y]] for x, y in zip(bunch.data, bunch.target)]
    return Table(title, [*map(str, bunch.feature_names), "kind"], rows, options)


def _of_numbers(title, x, y, *options):
    labels = [f"target {place}" for place in range(y.shape[1])]
    rows = [[repr(float(number)) for number in (*a, *b)] for a, b in zip(x, y)]
    names = [f"x{place}" for place in range(x.shape[1])]
    return Table(title, [*names, *labels], rows, ("--label", ",".join(labels), "--task", "regress", *options))


def _awkward(title, rows, *options):
    """Every kind of column, most with missing values, under names that mean something to somebody."""
    draws = random.Random(5)
    names = ["girth", HOSTILE[0], HOSTILE[1], HOSTILE[2], "bloom", "day", "seen", "always", "n" * 5000, "mass", "kind"]
    levels = ["red", *HOSTILE, "c" * 5000]
    classes = ["oak", *HOSTILE[:3], "k" * 5000]

    def row(place):
        def unless(part, text):
            return "NA" if draws.random() < part else text

        girth, height, depth = draws.uniform(0, 90), draws.gauss(1e9, 1e3), draws.expovariate(0.1)
        level, bloom = draws.randrange(6), draws.randrange(2)
        day = datetime.date(1969, 12, 1) + datetime.timedelta(days=draws.randrange(60))
        hour = draws.randrange(24)
        zone = draws.choice(["", "Z", "+05:30", "-08:00"])
        score = girth / 9 + (height - 1e9) / 500 + 3 * level + 4 * bloom + hour / 4 + draws.uniform(0, 3)
        return [
            unless(0.1, f"{girth:.3f}"),
            repr(height),
            unless(0.005, repr(depth)),
            f"rare {place}" if place % 97 == 0 else unless(0.1, levels[level]),
            unless(0.1, ["no", "Yes"][bloom]),
            unless(0.08, day.isoformat()),
            unless(0.06, f"{day}T{hour:02}:{draws.randrange(60):02}:{draws.randrange(60):02}{zone}"),
            "7",
            repr(draws.gauss(0, 1e-6)),
            repr(40 + 2.5 * score + draws.gauss(0, 1)),
            classes[min(max(int(score / 8), 0), 4)],
        ]

    return Table(title, names, [row(place) for place in range(rows)], options)


def _blobs(title, rows, classes, *options):
    x, y = datasets.make_blobs(rows, 8, centers=classes, cluster_std=1.5, random_state=3)
    return Table(title, [*(f"x{place}" for place in range(8)), "kind"], [[*map(repr, map(float, a)), f"c{b}"] for a, b in zip(x, y)], options)


def tables():
    """All of them."""
    diabetes, linnerud = datasets.load_diabetes(), datasets.load_linnerud()
    friedman = datasets.make_friedman1(5_000, random_state=2)
    # Digits have names of numbers: classes all the same.
    digits = ("--task", "classify", "--hidden", "64,32")
    of_class, of_mass = ("--ignore", "mass", "--label", "kind"), ("--ignore", "kind", "--label", "mass")
    return [
        _of_sklearn("iris", datasets.load_iris()),
        _of_sklearn("wine, tanh", datasets.load_wine(), "--activation", "tanh"),
        _of_sklearn("breast cancer", datasets.load_breast_cancer(), "--hidden", "none"),
        _of_sklearn("digits", datasets.load_digits(), *digits),
        _of_numbers("diabetes", diabetes.data, diabetes.target.reshape(-1, 1)),
        _of_numbers("linnerud, identity", linnerud.data, linnerud.target, "--activation", "identity"),
        _of_numbers("friedman, tanh", friedman[0], friedman[1].reshape(-1, 1), "--activation", "tanh", "--hidden", "64,64"),
        _awkward("awkward classes", 4_000, *of_class),
        _awkward("awkward numbers", 4_000, *of_mass, "--impute", "mean"),
        _blobs("hundred blobs", 6_000, 100, "--hidden", "256,128"),
    ]
