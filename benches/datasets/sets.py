"""The files that are trained beside scikit-learn: real ones, from packages, chosen before anything was measured. Owns the list."""

from dataclasses import dataclass

from sources import ROOT, package, pydataset


@dataclass(frozen=True)
class Set:
    name: str
    path: object
    # As gradwire's --label takes it; the peers take the same column.
    label: str
    # What pandas has to be told to read the file: gradwire finds it out.
    pandas: dict


def of_pydataset(name, file, label):
    return Set(name, pydataset() / f"{file}.csv", label, {})


def all_sets():
    """Classes first, then numbers; small ones first."""
    sklearn, river = package("sklearn") / "datasets/data", package("river") / "datasets"
    models, vega = package("statsmodels") / "datasets", package("vega_datasets") / "_data"
    penguins = package("palmerpenguins") / "data"
    return [
        of_pydataset("kyphosis", "rpart__kyphosis", "Kyphosis"),
        of_pydataset("arthritis", "vcd__Arthritis", "Improved"),
        of_pydataset("iris", "datasets__iris", "Species"),
        of_pydataset("crabs", "MASS__crabs", "sex"),
        of_pydataset("fgl", "MASS__fgl", "type"),
        of_pydataset("survey", "MASS__survey", "Sex"),
        of_pydataset("infert", "datasets__infert", "case"),
        of_pydataset("womenlf", "car__Womenlf", "partic"),
        of_pydataset("pima", "MASS__Pima.tr2", "type"),
        Set("penguins", penguins / "penguins.csv", "species", {}),
        of_pydataset("biopsy", "MASS__biopsy", "class"),
        of_pydataset("participation", "Ecdat__Participation", "lfp"),
        Set("anes96", models / "anes96/anes96.csv", "10", {"sep": "\t"}),
        of_pydataset("fishing", "Ecdat__Fishing", "mode"),
        Set("phishing", river / "phishing.csv.gz", "is_phishing", {}),
        of_pydataset("titanic", "COUNT__titanic", "survived"),
        of_pydataset("cowles", "car__Cowles", "volunteer"),
        Set("weather", vega / "seattle-weather.csv", "weather", {}),
        Set("digits", sklearn / "digits.csv.gz", "65", {"header": None}),
        of_pydataset("kakadu", "Ecdat__Kakadu", "answer"),
        of_pydataset("turnout", "Zelig__turnout", "vote"),
        of_pydataset("hdma", "Ecdat__Hdma", "deny"),
        of_pydataset("chile", "car__Chile", "vote"),
        of_pydataset("aids", "MASS__Aids2", "status"),
        of_pydataset("nwtco", "survival__nwtco", "rel"),
        of_pydataset("verbagg", "lme4__VerbAgg", "r2"),
        of_pydataset("flchain", "survival__flchain", "death"),
        Set("letters", ROOT / "data/letter-recognition.csv", "lettr", {}),
        of_pydataset("insured", "Ecdat__HI", "hhi"),
        Set("shuttle", river / "shuttle.csv.gz", "anomaly", {}),
        of_pydataset("mtcars", "datasets__mtcars", "mpg"),
        of_pydataset("uscereal", "MASS__UScereal", "calories"),
        of_pydataset("prestige", "car__Prestige", "prestige"),
        of_pydataset("airquality", "datasets__airquality", "Ozone"),
        of_pydataset("salaries", "car__Salaries", "salary"),
        of_pydataset("caschool", "Ecdat__Caschool", "testscr"),
        of_pydataset("boston", "MASS__Boston", "medv"),
        of_pydataset("hedonic", "Ecdat__Hedonic", "mv"),
        of_pydataset("housing", "Ecdat__Housing", "price"),
        Set("chickweight", river / "chick-weights.csv", "weight", {}),
        of_pydataset("nlschools", "MASS__nlschools", "lang"),
        of_pydataset("wages1", "Ecdat__Wages1", "wage"),
        of_pydataset("plmwages", "plm__Wages", "lwage"),
        of_pydataset("computers", "Ecdat__Computers", "price"),
        Set("fair", models / "fair/fair.csv", "affairs", {}),
        of_pydataset("slid", "car__SLID", "wages"),
        of_pydataset("nox", "robustbase__NOxEmissions", "LNOx"),
        of_pydataset("cpsch3", "Ecdat__CPSch3", "ahe"),
        Set("randhie", models / "randhie/randhie.csv", "mdvis", {}),
        of_pydataset("budgetfood", "Ecdat__BudgetFood", "wfood"),
        of_pydataset("star", "Ecdat__Star", "tmathssk"),
        of_pydataset("medexp", "Ecdat__MedExp", "med"),
        of_pydataset("vocabulary", "car__Vocab", "vocabulary"),
        of_pydataset("diamonds", "ggplot2__diamonds", "price"),
        of_pydataset("movies", "ggplot2__movies", "rating"),
        of_pydataset("lectures", "lme4__InstEval", "y"),
    ]
