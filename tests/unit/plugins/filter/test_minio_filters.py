import base64
import hmac
import json

from ansible_collections.escala.ha.plugins.filter.minio_application_policy import minio_application_policy
from ansible_collections.escala.ha.plugins.filter.minio_environment import minio_environment
from ansible_collections.escala.ha.plugins.filter.minio_metrics_token import minio_metrics_token
from ansible_collections.escala.ha.plugins.filter.minio_refusals import minio_refusals

NODES = [{"name": f"s{number}", "address": f"192.0.2.{number}"} for number in range(1, 5)]


def test_what_comes_from_jinja_as_text_is_a_number():
    [told] = minio_refusals({}, NODES, ["/data"], "3", "s1", "20")
    assert told.startswith("minio_parity is 3 of 4 drives")


def test_several_nodes_name_each_other_by_https_in_their_order():
    said = minio_environment(NODES[:2], ["/a", "/b"], 9000, "0")
    assert said["MINIO_VOLUMES"].split() == [
        "https://192.0.2.1:9000/a",
        "https://192.0.2.1:9000/b",
        "https://192.0.2.2:9000/a",
        "https://192.0.2.2:9000/b",
    ]
    assert said["MINIO_STORAGE_CLASS_STANDARD"] == "EC:2"


def test_one_disk_has_nothing_to_spare():
    assert minio_environment(NODES[:1], ["/data"], 9000, 0) == {"MINIO_VOLUMES": "/data"}


def test_what_is_asked_for_counts():
    said = minio_environment(NODES, ["/data"], 9000, 1, {"MINIO_BROWSER": "on", "MINIO_VOLUMES": "/x"})
    assert said == {"MINIO_VOLUMES": "/x", "MINIO_STORAGE_CLASS_STANDARD": "EC:1", "MINIO_BROWSER": "on"}


def test_an_address_of_six_is_in_brackets():
    said = minio_environment([{"address": "2001:db8::1"}, {"address": "two"}], ["/a"], 9000, 0)
    assert said["MINIO_VOLUMES"] == "https://[2001:db8::1]:9000/a https://two:9000/a"


def test_the_application_may_what_its_contract_names_and_nothing_else():
    policy = minio_application_policy("uploads")
    may = {(action, where) for part in policy["Statement"] for action in part["Action"] for where in part["Resource"]}
    assert may == {
        ("s3:ListBucket", "arn:aws:s3:::uploads"),
        ("s3:GetObject", "arn:aws:s3:::uploads/*"),
        ("s3:PutObject", "arn:aws:s3:::uploads/*"),
        ("s3:DeleteObject", "arn:aws:s3:::uploads/*"),
        ("s3:DeleteObjectVersion", "arn:aws:s3:::uploads/*"),
        ("s3:AbortMultipartUpload", "arn:aws:s3:::uploads/*"),
    }


def decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_the_token_is_the_user_s_signed_with_his_secret_key_and_the_same_each_time():
    token = minio_metrics_token("metrics", "a secret")
    head, claims, signature = token.split(".")
    assert json.loads(decoded(head)) == {"alg": "HS512", "typ": "JWT"}
    assert {"sub": "metrics", "iss": "prometheus"}.items() <= json.loads(decoded(claims)).items()
    assert decoded(signature) == hmac.digest(b"a secret", f"{head}.{claims}".encode(), "sha512")
    assert token == minio_metrics_token("metrics", "a secret") != minio_metrics_token("metrics", "another")
