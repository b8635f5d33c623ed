"""An upload comes back whole: each row scored, or with what is wrong with it."""

import datetime as dt

import pytest

from conf.errors import InputError
from serving.dashboard.figures import examples, sheets, upload_charts, uploads
from serving.predictor import load_predictor
from serving.tables import Tables

HEAD = b"customer_id,recency,orders,monetary\n"


@pytest.fixture(scope="module")
def predictor(small_lake):
    return load_predictor(Tables(str(small_lake)))


def _scored(predictor, data: bytes) -> uploads.Scored:
    return uploads.score_customers(predictor, sheets.read_csv(data))


def test_rows_are_scored_as_the_champion_scores_them(predictor):
    scored = _scored(predictor, HEAD + b"A,60,20,200\nB,30,20,200\n")
    direct = predictor.predict([{"recency": 30, "orders": 20, "monetary": 200}])[0]
    assert scored.rows["probability"].tolist() == pytest.approx([0.5, direct.probability])
    assert scored.rows["reasons"][1].startswith("Days from the last day with an order")
    assert scored.refused.empty


def test_a_wrong_row_says_why_and_the_others_are_scored(predictor):
    data = HEAD + b"A,sixty,20,200\nB,60,20,200\nC,60\nD,60,20,1e99\nE,,20,200\n"
    scored = _scored(predictor, data)
    errors = dict(zip(scored.rows["customer_id"], scored.rows["error"], strict=True))
    assert "recency is “sixty”" in errors["A"]
    assert errors["B"] == ""
    assert errors["C"] == "has 2 cells, the header 4"
    assert "monetary" in errors["D"]
    assert errors["E"] == ""
    assert scored.rows["probability"].notna().tolist() == [False, True, False, False, True]
    assert scored.rows["line"].tolist() == [2, 3, 4, 5, 6]


def test_customers_who_are_there_twice_are_counted(predictor):
    data = HEAD + b"A,60,20,200\nA,30,20,200\nB,30,20,200\n,30,20,200\n,30,20,200\n"
    scored = _scored(predictor, data)
    assert scored.repeated == 1
    assert scored.rows["probability"].notna().all()


def test_nothing_is_lost(predictor):
    data = HEAD.strip() + b',note,error\nA,60,20,200,"a, b",x\nB,60,20,200,c,y,more\n'
    scored = _scored(predictor, data)
    assert scored.rows["note"].tolist() == ["a, b", "c"]
    assert scored.rows["error (uploaded)"].tolist() == ["x", "y"]
    assert scored.rows["cell 7"].tolist() == ["", "more"]
    assert scored.unused == ["note", "error"]


def test_columns_that_a_spreadsheet_leaves_at_the_side_are_no_columns(predictor):
    scored = _scored(predictor, HEAD.strip() + b",,,\nA,60,20,200,,x,\nB,60,20,200,,,\n")
    assert scored.rows["column 6"].tolist() == ["x", ""]
    assert "column 5" not in scored.rows
    assert scored.refused.empty


def test_what_was_scored_can_be_scored_again(predictor):
    data = HEAD + b"A,60,20,200\n"
    for times in range(3):
        rows = _scored(predictor, data).rows
        assert len(set(rows.columns)) == len(rows.columns)
        assert sum("probability" in name for name in rows.columns) == times + 1
        data = rows.drop(columns="reasons").to_csv(index=False).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfcustomer_id;recency;orders;monetary\r\nA;60;20;200\r\n",
        b"customer_id\trecency\torders\tmonetary\nA\t60\t20\t200",
        b"customer_id,recency,orders,monetary\n\nM\xfcller,60,20,200\n\n",
    ],
)
def test_separators_and_encodings_of_spreadsheets(predictor, data):
    scored = _scored(predictor, data)
    assert scored.rows["probability"].tolist() == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no row below its header"),
        (HEAD, "no row below its header"),
        (b"name,place\nA,B\n", "no column of the file is a feature"),
        (b"recency,recency\n1,2\n", "the column recency is in the header twice"),
        (b"recency,recency_days\n1,2\n", "recency and recency_days are both recency_days"),
        (b'recency\n"' + b"1" * 200_000 + b'"\n', "is no CSV"),
        (b'recency,"' + b"1" * 200_000, "the header is no CSV"),
    ],
)
def test_a_file_that_cannot_be_scored_says_what_to_do(predictor, data, said):
    with pytest.raises(InputError, match=said):
        _scored(predictor, data)


def test_orders_need_their_columns(predictor):
    upload = sheets.read_csv(b"customer_id,amount\nA,1\n")
    with pytest.raises(InputError, match="ordered_at"):
        uploads.score_orders(predictor, upload, dt.date(2024, 6, 1))


def test_the_top_tenth_is_likelier_than_the_bottom(predictor):
    rows = b"".join(b"C%d,%d,20,200\n" % (n, 3 * n) for n in range(40))
    tenths = upload_charts.tenths(_scored(predictor, HEAD + rows).customers)
    assert tenths["mean of"].iloc[0] == "probability"
    means = tenths.set_index("mean of")
    assert means.loc["recency", "top 10 %"] == pytest.approx(4.5)
    assert means.loc["recency", "bottom 10 %"] == pytest.approx(112.5)
    assert means.loc["probability", "top 10 %"] > means.loc["probability", "all"]


def test_an_example_can_be_uploaded_and_repeats_by_its_seed(query, predictor):
    names = examples.plain_names(predictor.names.features)
    assert names["monetary"] == "revenue_lifetime"
    first, again, other = (examples.customers(query, names, 5, seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)
    assert _scored(predictor, first.to_csv(index=False).encode()).refused.empty


def test_an_example_of_orders_names_no_customer(query):
    rows = examples.orders(query, ["customer_id", "ordered_at", "amount"], 3, 1)
    assert sorted(rows["customer_id"].unique()) == ["E00001", "E00002", "E00003"]
    assert len(rows) == 6
