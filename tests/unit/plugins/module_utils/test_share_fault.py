from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._share_fault import Share, share_fault

NFS = Share("nfs", "192.0.2.41", "/srv/shared/uploads", "/srv/uploads", "tenant-app", "srv-uploads", "")
SMB = NFS._replace(kind="smb", name="uploads", account="uploads")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("dd: fsync failed for '/srv/uploads/.p': No space left on device", "/srv/uploads is full"),
        ("dd: error writing '/srv/uploads/.p': Disk quota exceeded", "make its file system larger"),
        ("dd: failed to open '/srv/uploads/.p': Stale file handle", "systemctl restart srv-uploads.mount"),
        ("dd: failed to open '/srv/uploads/.p': Read-only file system", "takes no writes"),
        ("dd: failed to open '/srv/uploads/.p': Permission denied", "tenant-app may not write at /srv/uploads"),
        ("dd: failed to open '/srv/uploads/.p': No such device", "not what was mounted"),
    ],
)
def test_what_writing_fails_with_says_what_to_do(said: str, words: str):
    assert words in share_fault(said, NFS, writing=True)


@pytest.mark.parametrize(
    ("share", "said", "words"),
    [
        (NFS, "mount.nfs: Failed to resolve server nas9: Name or service not known", "nothing says which host"),
        (
            NFS,
            "mount.nfs: access denied by server while mounting 192.0.2.41:/srv/shared/uploads",
            "among the server's nfs_server_clients",
        ),
        (
            NFS,
            "mount.nfs: mounting 192.0.2.41:/x failed, reason given by server: No such file or directory",
            "has no /srv/shared/uploads",
        ),
        (
            NFS,
            "mount.nfs: Connection refused for 192.0.2.41:/x on /srv/uploads",
            "nothing at 192.0.2.41 answers as the NFS server",
        ),
        (NFS, "srv-uploads.mount: Mounting timed out. Terminating.", "reach its port 2049"),
        (NFS, "mount.nfs: mount system call failed for /srv/uploads", "gives no answer"),
        (NFS, "mount.nfs: No route to host for 192.0.2.41:/x on /srv/uploads", "gives no answer"),
        (NFS, "mount.nfs: Protocol not supported for 192.0.2.41:/x on /srv/uploads", "speaks no version"),
        (
            SMB,
            "mount error(13): Permission denied",
            "refuses uploads's password, which is shared_mount_smb_password here",
        ),
        (SMB, "mount error(2): No such file or directory", "the SMB server at 192.0.2.41 has no uploads"),
        (
            SMB,
            "mount error(111): could not connect to 192.0.2.41Unable to find suitable address.",
            "nothing at 192.0.2.41 answers as the SMB server",
        ),
        (SMB, "mount error(113): could not connect to 192.0.2.41", "reach its port 445"),
        (SMB, "mount error: could not resolve address for nas9: Unknown error", "nothing says which host"),
        (SMB, "mount error(95): Operation not supported", "SMB 3.1.1"),
    ],
)
def test_what_mounting_fails_with_says_what_to_do(share: Share, said: str, words: str):
    assert words in share_fault(said, share, writing=False)


def test_the_same_words_mean_another_thing_for_mounting_and_writing():
    assert share_fault("Permission denied", SMB, writing=True) != share_fault("Permission denied", SMB, writing=False)


def test_what_was_said_last_counts():
    said = "mount.nfs: Connection refused for a:/b on /c\nmount.nfs: No route to host for a:/b on /c\nFailed to mount."
    assert "gives no answer" in share_fault(said, NFS, writing=False)


def test_what_nobody_knows_is_handed_on_with_its_last_line():
    assert (
        share_fault("one\ntwo\n", NFS, writing=False) == "/srv/uploads cannot be mounted from 192.0.2.41. It said: two"
    )


def test_a_write_that_was_ended_without_a_word_says_so():
    assert share_fault("", NFS, writing=True).endswith("It said: nothing, so it was ended when its time was over")
