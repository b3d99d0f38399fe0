"""Grants in a file's own header overrule its repository, in the wordings that are usual."""

import pytest

from snow_assets.corpus.license_headers import HEADER_BYTES, stated_in_header
from snow_assets.corpus.license_statements import Statement
from snow_assets.corpus.licenses import decide
from snow_assets.recipe import PERMISSIVE_LICENSES

GRANTS = [
    "This program is free software; you can redistribute it and/or modify it under the terms of "
    "the GNU General Public License as published by the Free Software Foundation.",
    "This work is licensed under the terms of the GNU GPL, version 2. See COPYING.",
    "Licensed under the GPL-2 or later.",
    "Released under the GPLv3+.",
    "License: GPL",
    "License: LGPLv2.1",
    "@license AGPL-3.0",
    '__license__ = "GPLv2"',
    "(c) 2011 Jane Doe, LGPL",
    "LGPL 2.1 or later",
    "GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)",
    "This file is part of GNU Foo, which is distributed under the GNU Lesser General Public "
    "Licence.",
    "You should have received a copy of the GNU Library General Public License along with this.",
    "Subject to the terms of the Mozilla Public License, v. 2.0.",
    "MPL 1.1/GPL 2.0/LGPL 2.1 - the contents are subject to the Mozilla Public License",
    "This code is made available under the terms of the Eclipse Public License v2.0",
    "The contents of this file are subject to the Common Development and Distribution License",
    "You can redistribute it under the same terms as Perl itself.",
    "This program is licensed under the same licence as Ruby.",
    "Licensed under the Artistic License",
    "Licensed under CC BY-NC 4.0",
    "See https://creativecommons.org/licenses/by-nc-sa/4.0/ for the licence",
    "Licensed under a Creative Commons Attribution-ShareAlike 4.0 International License",
    "Use of this software is governed by the Business Source License included in the LICENSE file",
    "Licensed under the Elastic License 2.0; you may not use this file except in compliance",
    "licensed under the Server Side Public License, version 1",
    "PROPRIETARY AND CONFIDENTIAL",
    "This is confidential and proprietary information of Acme Inc.; copyright 2024",
    "Copyright Acme. Unauthorized copying of this file, via any medium, is strictly prohibited.",
    "Copyright 2020 Acme. This file may not be copied, modified or distributed without the prior "
    "written permission of Acme.",
    "Copyright NVIDIA. Any use, reproduction, disclosure or distribution of this software without "
    "an express license agreement from NVIDIA CORPORATION is strictly prohibited.",
    "Copyright X. This software contains trade secrets of X.",
    "Copyright X. For academic and research use only.",
    "Copyright X. Free for non-commercial use.",
]
PERMISSIVE = [
    "Licensed under the MIT license.",
    "Dual licensed under the MIT and GPL licenses.",
    "This file is dual-licensed: you can use it either under the terms of the GPL or the X11 "
    "license, at your option. ... under the terms of the GNU General Public License",
    "Redistribution and use in source and binary forms, with or without modification, are "
    "permitted. Alternatively, this software may be distributed under the terms of the GNU "
    "General Public License (GPL) version 2.",
    "This software is available to you under a choice of one of two licenses: the GNU General "
    "Public License (GPL) Version 2, or the BSD license below.",
    "Available under both MIT and GPL licenses. You can choose the license that suits you best.",
    "Neither the name of the author nor the names of contributors may be used to endorse or "
    "promote products derived from this software without specific prior written permission. "
    "All rights reserved. Copyright X.",
    "Licensed under the Apache License, Version 2.0; you may not use this file except in "
    "compliance with the License.",
    "This code is GPL-compatible. Licensed under MIT.",
    "This source file is free software, available under the following license: MIT license. It is "
    "distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY.",
    "exports.gpl = `GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007`;",
    "class ShardingPlaceholder: license = None",
    "A confidential client of OAuth; licensed under MIT",
    "#include <boost/mpl/size.hpp> // Boost Software License",
    "This software is subject to the provisions of the Zope Public License",
    "For internal use only: a helper of the package. License: MIT",
]
COMMENTS = {
    "hash": lambda text: "# " + text.replace("\n", "\n# "),
    "block": lambda text: (
        "/*\n * " + text.replace(". ", ".\n * ").replace(", ", ",\n * ") + "\n */"
    ),
    "box": lambda text: "\n".join(f"# *   {line:<70} *" for line in text.split(". ")),
    "html": lambda text: f"<!--\n{text.upper()}\n-->",
    "CR LF": lambda text: "// " + text.replace(" ", "\r\n// "),
}


def is_admitted(content: bytes) -> bool:
    statement = Statement("MIT", "LICENSE")
    return decide(content, statement, permissive=PERMISSIVE_LICENSES).license is not None


@pytest.mark.parametrize("comment", COMMENTS.values(), ids=COMMENTS.keys())
@pytest.mark.parametrize("grant", GRANTS)
def test_a_grant_that_does_not_permit_overrules_a_permissive_repository(
    grant: str, comment: object
) -> None:
    header = comment(grant)  # type: ignore[operator]
    assert not is_admitted(f"{header}\nx = 1\n".encode())


@pytest.mark.parametrize("comment", COMMENTS.values(), ids=COMMENTS.keys())
@pytest.mark.parametrize("text", PERMISSIVE)
def test_permissive_headers_and_mentions_lose_nothing(text: str, comment: object) -> None:
    header = comment(text)  # type: ignore[operator]
    assert is_admitted(f"{header}\nx = 1\n".encode())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_a_grant_is_read_in_the_encodings_of_source_files(encoding: str) -> None:
    assert not is_admitted("# Café: licensed under the GPL\n".encode(encoding))


@pytest.mark.parametrize(
    ("tag", "expression"),
    [
        ("# SPDX-License-Identifier: MIT", "MIT"),
        ("/* SPDX-License-Identifier: MIT */", "MIT"),
        ("<!-- SPDX-License-Identifier: MIT -->", "MIT"),
        ("(* SPDX-License-Identifier: MIT *)", "MIT"),
        ("{# SPDX-License-Identifier: MIT #}", "MIT"),
        ('"""SPDX-License-Identifier: MIT"""', "MIT"),
        (
            "|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception      *|",
            "Apache-2.0 WITH LLVM-exception",
        ),
        ("# (SPDX-License-Identifier: MIT)", "MIT"),
        ("# spdx-license-identifier: (MIT OR GPL-2.0+)", "(MIT OR GPL-2.0+)"),
        ("# SPDX-License-Identifier: GPL-2.0+", "GPL-2.0+"),
        ("# SPDX-License-Identifier: MIT/GPL-2.0-only", "MIT AND GPL-2.0-only"),
        ("# SPDX-License-Identifier: MIT, GPL-2.0-only", "MIT, GPL-2.0-only"),
    ],
)
def test_a_tag_ends_where_its_comment_ends(tag: str, expression: str) -> None:
    statement = stated_in_header(f"{tag}\nx = 1\n".encode())
    assert statement is not None
    assert statement.expression == expression


def test_all_tags_of_a_header_apply_together() -> None:
    header = "# SPDX-License-Identifier: MIT\n# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0\n"
    assert is_admitted(header.encode())
    assert not is_admitted(f"{header}# SPDX-License-Identifier: GPL-2.0-only\n".encode())


def test_a_proprietary_notice_beside_a_permissive_tag_counts() -> None:
    header = b"# SPDX-License-Identifier: MIT\n# Copyright X. Proprietary and confidential.\n"
    assert not is_admitted(header)


def test_a_header_far_down_in_a_file_is_not_one() -> None:
    padding = b"x = 1\n" * (HEADER_BYTES // 6 + 1)
    assert is_admitted(padding + b"# SPDX-License-Identifier: GPL-2.0\n")
    assert is_admitted(padding + b"# Licensed under the GPL\n")


def test_a_header_without_words_of_licences_states_nothing() -> None:
    assert stated_in_header(b"import os\n\n\ndef main():\n    pass\n") is None
