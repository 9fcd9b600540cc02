"""DuckDB or chdb on Parquet files, kept running: a line of JSON with SQL in, a line with rows and seconds out.

    python engines.py duckdb|chdb PATTERN
"""

import json
import sys
import time


def duckdb(pattern):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    # It is drawn on the pipe that answers go through.
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet('{pattern}')")
    text = lambda value: None if value is None else str(value)
    return duckdb.__version__, lambda sql: [list(map(text, row)) for row in connection.execute(sql).fetchall()]


def chdb(pattern):
    import chdb

    connection = chdb.connect(":memory:")

    def rows(sql):
        sql = sql.replace("FROM events", f"FROM file('{pattern}', Parquet)")
        answer = connection.query(sql + " SETTINGS session_timezone = 'UTC'", "JSONCompactStringsEachRow")
        return [json.loads(line) for line in answer.bytes().decode().splitlines()]

    return chdb.__version__, rows


def main():
    engine, pattern = sys.argv[1:]
    version, ask = {"duckdb": duckdb, "chdb": chdb}[engine](pattern)
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        try:
            answer = {"rows": ask(json.loads(line)["sql"])}
        except Exception as error:
            answer = {"error": str(error)}
        print(json.dumps({"seconds": time.perf_counter() - started, **answer}), flush=True)


if __name__ == "__main__":
    main()
