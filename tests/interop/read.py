"""Reads the segments of a data directory in place with one engine, and prints what it makes of them.

    python read.py ENGINE DATA_DIR          duckdb, chdb, pandas, pyarrow or spark

One JSON object: for each tenant the number of entries, sums of tokens, the exact sum of costs, and how often each
tool was offered. `recompute.py` says the same from the entries' exact bytes.
"""

import json
import sys
from collections import Counter, defaultdict
from decimal import Decimal, getcontext

getcontext().prec = 60

SUMS = """
    SELECT tenant_id, count(*), sum(prompt_tokens), sum(completion_tokens), sum(cost_usd)
    FROM {table} GROUP BY tenant_id
"""


def duckdb(pattern):
    import duckdb

    events = duckdb.connect()
    events.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet('{pattern}')")
    tools = "SELECT tenant_id, tool, count(*) FROM (SELECT tenant_id, unnest(tools) AS tool FROM events) GROUP BY 1, 2"
    return duckdb.__version__, events.sql(SUMS.format(table="events")).fetchall(), events.sql(tools).fetchall()


def chdb(pattern):
    import chdb

    def rows(sql):
        answer = chdb.query(sql, "JSONCompactStringsEachRow")
        return [json.loads(line) for line in answer.bytes().decode().splitlines()]

    table = f"file('{pattern}', Parquet)"
    none = lambda value: None if value in ("ᴺᵁᴸᴸ", "NULL", "\\N") else value
    sums = [[none(value) for value in row] for row in rows(SUMS.format(table=table))]
    tools = rows(f"SELECT tenant_id, arrayJoin(tools) AS tool, count() FROM {table} GROUP BY 1, 2")
    return chdb.__version__, sums, tools


def pandas(pattern):
    import glob

    import pandas

    read = ["tenant_id", "prompt_tokens", "completion_tokens", "cost_usd", "tools"]
    files = [pandas.read_parquet(path, columns=read, partitioning=None) for path in glob.glob(pattern)]
    rows = pandas.concat(files, ignore_index=True)
    sums, tools = [], []
    for tenant, of in rows.groupby("tenant_id"):
        cost = sum(of["cost_usd"].dropna(), Decimal(0))
        sums.append((tenant, len(of), of["prompt_tokens"].sum(), of["completion_tokens"].sum(), cost))
        offered = Counter(tool for offered in of["tools"].dropna() for tool in offered)
        tools += [(tenant, tool, count) for tool, count in offered.items()]
    return pandas.__version__, sums, tools


def pyarrow(pattern):
    import glob

    import pyarrow
    import pyarrow.compute as compute
    import pyarrow.dataset

    rows = pyarrow.dataset.dataset(sorted(glob.glob(pattern)), format="parquet").to_table(
        columns=["tenant_id", "prompt_tokens", "completion_tokens", "cost_usd", "tools"]
    )
    sums = rows.group_by("tenant_id").aggregate(
        [([], "count_all"), ("prompt_tokens", "sum"), ("completion_tokens", "sum"), ("cost_usd", "sum")]
    )
    order = ["tenant_id", "count_all", "prompt_tokens_sum", "completion_tokens_sum", "cost_usd_sum"]
    flat = pyarrow.table(
        {
            "tenant_id": rows["tenant_id"].combine_chunks().take(compute.list_parent_indices(rows["tools"].combine_chunks())),
            "tool": compute.list_flatten(rows["tools"].combine_chunks()),
        }
    )
    tools = flat.group_by(["tenant_id", "tool"]).aggregate([([], "count_all")])
    tools = tools.select(["tenant_id", "tool", "count_all"])
    as_rows = lambda table: list(zip(*(column.to_pylist() for column in table.columns)))
    return pyarrow.__version__, as_rows(sums.select(order)), as_rows(tools)


def spark(pattern):
    from pyspark.sql import SparkSession, functions

    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    rows = session.read.parquet(pattern)
    rows.createOrReplaceTempView("events")
    sums = session.sql(SUMS.format(table="events")).collect()
    offered = rows.select("tenant_id", functions.explode("tools").alias("tool"))
    return session.version, sums, offered.groupBy("tenant_id", "tool").count().collect()


def main():
    engine, data = sys.argv[1:]
    read = {"duckdb": duckdb, "chdb": chdb, "pandas": pandas, "pyarrow": pyarrow, "spark": spark}[engine]
    version, sums, tools = read(f"{data}/segments/tenant=*/date=*/*/entries.parquet")
    offered = defaultdict(dict)
    for tenant, tool, count in sorted(tools):
        offered[tenant][tool] = int(count)
    tenants = {
        tenant: {
            "count": int(count),
            "prompt_tokens": int(prompt or 0),
            "completion_tokens": int(completion or 0),
            "cost_usd": str(Decimal(str(cost or 0)).normalize()),
            "tools": offered[tenant],
        }
        for tenant, count, prompt, completion, cost in sums
    }
    print(json.dumps({"version": version, "tenants": tenants}))


if __name__ == "__main__":
    main()
