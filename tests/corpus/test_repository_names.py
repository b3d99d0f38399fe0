"""Every usual spelling of a repository means one name; text that means none is refused."""

import pytest

from snow_assets.corpus.repository_names import canonical, parse_repository, patterns

REPOSITORY = [
    "octo-org/hello-world",
    "Octo-Org/Hello-World",
    "OCTO-ORG/HELLO-WORLD",
    "octo_org/hello.world",
    "octo-org/hello-world/",
    "/octo-org/hello-world",
    "octo-org/hello-world.git",
    "  octo-org/hello-world\t",
    "\ufeffocto-org/hello-world",
    "octo-org/hello-world\u200b",
    '"octo-org/hello-world"',
    "`octo-org/hello-world`",
    "<https://github.com/octo-org/hello-world>",
    "- octo-org/hello-world",
    "* https://github.com/octo-org/hello-world",
    "octo-org/hello-world,",
    "octo-org/hello-world@v1.2",
    "octo-org/hello-world/tree/main",
    "octo-org\\hello-world",
    "github.com/octo-org/hello-world",
    "GitHub.com/octo-org/hello-world",
    "www.github.com/octo-org/hello-world",
    "github.com//octo-org//hello-world",
    "github.com:octo-org/hello-world",
    "github.com:443/octo-org/hello-world",
    "//github.com/octo-org/hello-world",
    "http://github.com/octo-org/hello-world",
    "https://github.com/octo-org/hello-world",
    "HTTPS://GITHUB.COM/Octo-Org/Hello-World",
    "https://www.github.com/octo-org/hello-world",
    "https://m.github.com/octo-org/hello-world",
    "https://github.com./octo-org/hello-world",
    "https://github.com/octo-org/hello-world/",
    "https://github.com/octo-org/hello-world//",
    "https://github.com/octo-org/hello-world.git",
    "https://github.com/octo-org/hello-world.git/",
    "https://github.com/octo-org/hello-world.GIT",
    "https://github.com:443/octo-org/hello-world",
    "https://user@github.com/octo-org/hello-world.git",
    "https://user:secret@github.com:443/octo-org/hello-world.git",
    "https://github.com/octo-org/hello-world?tab=readme-ov-file",
    "https://github.com/octo-org/hello-world#readme",
    "https://github.com/octo-org/hello-world/tree/main",
    "https://github.com/octo-org/hello-world/tree/main/src/a",
    "https://github.com/octo-org/hello-world/blob/main/a.py#L10",
    "https://github.com/octo-org/hello-world/issues/7",
    "https://github.com/octo-org/hello-world/pull/7/files",
    "https://github.com/octo-org/hello-world/archive/refs/heads/main.zip",
    "https://github.com/octo-org/hello-world/releases/tag/v1",
    "https://raw.githubusercontent.com/octo-org/hello-world/main/a.py",
    "https://codeload.github.com/octo-org/hello-world/tar.gz/main",
    "https://api.github.com/repos/octo-org/hello-world",
    "https://octo-org.github.io/hello-world/docs",
    "git://github.com/octo-org/hello-world.git",
    "git+https://github.com/octo-org/hello-world.git@main",
    "git+ssh://git@github.com/octo-org/hello-world.git",
    "git@github.com:octo-org/hello-world.git",
    "git@github.com:octo-org/hello-world",
    "git@GitHub.com:/octo-org/hello-world.git",
    "org-1234@github.com:octo-org/hello-world.git",
    "ssh://git@github.com/octo-org/hello-world.git",
    "ssh://git@github.com:22/octo-org/hello-world.git",
    "ssh://git@github.com:octo-org/hello-world.git",
    "ssh://git@ssh.github.com:443/octo-org/hello-world.git",
    "git clone https://github.com/octo-org/hello-world.git",
    "gh:octo-org/hello-world",
    "github:octo-org/hello-world",
    "pkg:github/octo-org/hello-world@1.0",
    "https://gitlab.com/octo-org/hello-world/-/tree/main",
    "https://gitlab.com/octo-org/hello-world/-/merge_requests/3",
    "git@gitlab.com:octo-org/hello-world.git",
    "https://bitbucket.org/octo-org/hello-world/src/main/",
    "https://codeberg.org/octo-org/hello-world/src/branch/main",
    "https://git.sr.ht/~octo-org/hello-world/tree",
    "https://huggingface.co/datasets/octo-org/hello-world/tree/main",
    "https://git.example.org/octo-org/hello-world.git",
    "git.example.org/octo-org/hello-world",
    "https://git.example.org:8443/scm/octo-org/hello-world.git",
    "https://git.example.org/projects/octo-org/repos/hello-world/browse",
    "https://github.com/octo%2Dorg/hello-world",
]

OWNER = [
    "octo-org/*",
    "Octo_Org/*",
    "octo-org/",
    "@octo-org",
    "https://github.com/octo-org",
    "https://github.com/octo-org/",
    "github.com/octo-org",
    "https://github.com/octo-org/*",
    "https://github.com/octo-org?tab=repositories",
    "https://github.com/orgs/octo-org/repositories",
    "https://github.com/users/octo-org",
    "https://gitlab.com/groups/octo-org",
    "git@github.com:octo-org",
]

BARE = [
    "hello-world",
    "Hello_World",
    "hello.world",
    "https://pypi.org/project/hello-world/",
    "https://pypi.org/project/Hello.World/1.0/#files",
    "https://www.npmjs.com/package/hello-world",
    "https://crates.io/crates/hello_world",
    "pkg:pypi/hello-world@1.0",
]

UNREADABLE = [
    "please remove my repository",
    "octo org/hello",
    "octo-org/hello-*",
    "*",
    "*/*",
    "https://",
    "https://github.com",
    "https://github.com/",
    "mailto:me@example.org",
    "octo-org/hello?world|x",
    "octo-org/hello%20world",
    "/",
    "-",
]


@pytest.mark.parametrize("spelling", REPOSITORY)
def test_a_spelling_of_a_repository_means_its_canonical_name(spelling: str) -> None:
    assert parse_repository(spelling) == "octo-org/hello-world"


@pytest.mark.parametrize("spelling", OWNER)
def test_a_spelling_of_an_owner_means_all_that_is_theirs(spelling: str) -> None:
    assert parse_repository(spelling) == "octo-org/*"


@pytest.mark.parametrize("spelling", BARE)
def test_a_distribution_of_a_registry_means_its_bare_name(spelling: str) -> None:
    assert parse_repository(spelling) == "hello-world"


@pytest.mark.parametrize("text", UNREADABLE)
def test_text_that_means_no_repository_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names no repository"):
        parse_repository(text)


def test_nested_groups_keep_their_path_and_belong_to_each_of_their_owners() -> None:
    name = parse_repository("https://gitlab.com/Group/Sub.Group/Tool/-/tree/main")
    assert name == "group/sub-group/tool"
    assert list(patterns(name)) == ["group/sub-group/tool", "group/sub-group/*", "group/*"]


@pytest.mark.parametrize(
    ("repository", "name"),
    [
        ("https://github.com/Foo/Bar.git", "foo/bar"),
        ("foo.bar/baz", "foo-bar/baz"),  # two segments: a group with a dot, no host
        ("Ruamel.Yaml", "ruamel-yaml"),
        ("a folder with spaces", "a folder with spaces"),
        ("données", "données"),
        ("owner/.github", "owner/-github"),
    ],
)
def test_a_source_s_repository_has_a_name_whatever_it_is_called(repository: str, name: str) -> None:
    assert canonical(repository) == name
