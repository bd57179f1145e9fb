"""What one signature costs: the engine's `Signer` against botocore's `S3SigV4Auth`, on the same request."""

from __future__ import annotations

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from airflow_s3batch.core.engine.access import Credentials, S3Access
from airflow_s3batch.core.engine.compile import Compiler
from airflow_s3batch.core.engine.compiled import KEY
from airflow_s3batch.core.engine.signing import Signer
from benchmarks.clients.meter import Meter, settings

_TAGS = {"TagSet": [{"Key": "tier", "Value": "cold"}]}


def main() -> None:
    """Sign one request about many keys, both ways."""
    keys = [f"data/part={number // 1000}/file-{number}.parquet" for number in range(settings()["objects"])]
    compiler = Compiler(S3Access(endpoint_url="http://127.0.0.1:9000", addressing_style="path"), "bench")
    compiled = compiler.compile("PutObjectTagging", {"Bucket": "lake", "Key": KEY, "Tagging": _TAGS})
    signer = Signer(compiled, Credentials("AKIDEXAMPLE", "secret"))
    signer.wire(keys[0])
    meter = Meter()
    for key in keys:
        signer.wire(key)
    ours = meter.lap()
    auth = S3SigV4Auth(BotocoreCredentials("AKIDEXAMPLE", "secret"), "s3", "us-east-1")
    few = keys[: len(keys) // 50]
    url = f"http://{compiled.host}{compiled.path}?{compiled.query}"
    for key in few:
        auth.add_auth(AWSRequest("PUT", url.replace(KEY, key), dict(compiled.headers), compiled.body))
    botocores, _ = meter.lap()
    meter.report(len(keys), took=ours, botocore_us=botocores / len(few) * 1e6)


if __name__ == "__main__":
    main()
