"""Spellings of licences in the metadata of packages, PyPI's classifiers among them."""

# Names that are no SPDX identifiers; lower case, without commas. "BSD" is missing, since it is
# ambiguous: two or three clauses.
SPELLINGS = {
    spelling: identifier
    for identifier, spellings in {
        "0BSD": [
            "0bsd",
            "bsd zero clause license",
            "zero-clause bsd (0bsd)",
        ],
        "Apache-2.0": [
            "apache",
            "apache 2",
            "apache 2.0",
            "apache-2",
            "apache license",
            "apache license 2.0",
            "apache license v2.0",
            "apache license version 2.0",
            "apache software license",
            "apache software license 2.0",
            "apache 2.0 license",
            "apache-2.0 license",
            "apache2",
            "apache2.0",
            "apache v2",
            "apache license v2",
            "apache license 2",
            "the apache license 2.0",
            "the apache license version 2.0",
            "the apache software license version 2.0",
            "apache license version 2",
            "apache software license version 2.0",
            "asl 2.0",
            "apl2",
            "http://www.apache.org/licenses/license-2.0",
            "https://www.apache.org/licenses/license-2.0",
            "http://www.apache.org/licenses/license-2.0.txt",
        ],
        "BSD-2-Clause": [
            "2-clause bsd license",
            "bsd 2-clause",
            "bsd 2-clause license",
            "simplified bsd",
            "bsd-2",
            "bsd 2 clause",
            "freebsd",
            "simplified bsd license",
            "bsd-2-clause license",
        ],
        "BSD-3-Clause": [
            "3-clause bsd license",
            "3-clause bsd",
            "bsd 3-clause",
            "bsd 3-clause license",
            "new bsd",
            "new bsd license",
            "modified bsd",
            "bsd-3",
            "bsd 3 clause",
            "bsd-3-clause license",
            "modified bsd license",
            "bsd 3-clause new or revised license",
        ],
        "BSL-1.0": [
            "boost software license 1.0",
            "boost software license 1.0 (bsl-1.0)",
            "boost",
            "boost software license",
        ],
        "HPND": [
            "historical permission notice and disclaimer (hpnd)",
        ],
        "ISC": [
            "isc license",
            "isc license (iscl)",
            "isc licence",
            "http://opensource.org/licenses/isc",
            "https://opensource.org/licenses/isc",
        ],
        "MIT": [
            "mit license",
            "the mit license",
            "the mit license (mit)",
            "mit license (mit)",
            "expat",
            "expat license",
            "mit/x11",
            "x11/mit",
            "mit licence",
            "https://opensource.org/licenses/mit",
            "http://opensource.org/licenses/mit",
            "http://www.opensource.org/licenses/mit-license.php",
            "https://opensource.org/licenses/mit-license.php",
        ],
        "MIT-0": [
            "mit no attribution license (mit-0)",
            "mit-0 license",
        ],
        "MPL-2.0": [
            "mozilla public license 2.0 (mpl 2.0)",
            "mpl 2.0",
            "mozilla public license 2.0",
            "mpl",
        ],
        "PSF-2.0": [
            "psf",
            "psfl",
            "python software foundation license",
            "python software foundation",
            "psf license",
            "psf-2",
        ],
        "Unlicense": [
            "the unlicense",
            "the unlicense (unlicense)",
            "unlicense",
        ],
        "Zlib": [
            "zlib/libpng license",
            "zlib license",
        ],
        "CC0-1.0": [
            "cc0 1.0 universal (cc0 1.0) public domain dedication",
            "public domain (cc0 1.0)",
            "cc0",
            "cc0 1.0",
            "cc0 1.0 universal",
        ],
        "Artistic-2.0": [
            "artistic license",
        ],
        "GPL-2.0-or-later": [
            "gpl",
            "gnu general public license (gpl)",
            "gnu general public license v2 or later (gplv2+)",
            "gplv2+",
        ],
        "GPL-2.0-only": [
            "gplv2",
            "gnu general public license v2 (gplv2)",
            "gpl v2",
            "gpl2",
        ],
        "GPL-3.0-only": [
            "gnu general public license v3 (gplv3)",
            "gplv3",
            "gpl v3",
            "gpl3",
            "gnu gpl v3",
            "gnu gplv3",
        ],
        "GPL-3.0-or-later": [
            "gnu general public license v3 or later (gplv3+)",
            "gplv3+",
        ],
        "AGPL-3.0-only": [
            "gnu affero general public license v3",
            "agplv3",
        ],
        "LGPL-2.0-or-later": [
            "gnu lesser general public license v2 or later (lgplv2+)",
        ],
        "LGPL-3.0-only": [
            "gnu lesser general public license v3 (lgplv3)",
            "lgplv3",
        ],
        "LGPL-2.1-or-later": [
            "lgpl",
            "gnu library or lesser general public license (lgpl)",
        ],
        "NCSA": [
            "university of illinois/ncsa open source license",
        ],
        "GPL-1.0-or-later": [
            "gnu gpl",
            "gnu general public license",
        ],
        "AGPL-3.0-or-later": [
            "agpl",
            "agplv3+",
            "gnu affero general public license v3 or later (agplv3+)",
        ],
        "LGPL-2.0-only": [
            "lgplv2",
            "gnu lesser general public license v2 (lgplv2)",
        ],
        "LGPL-2.1-only": [
            "lgplv2.1",
        ],
        "LGPL-3.0-or-later": [
            "lgplv3+",
            "gnu lesser general public license v3 or later (lgplv3+)",
        ],
        "GFDL-1.1-or-later": [
            "gnu free documentation license (fdl)",
        ],
        "MPL-1.1": [
            "mozilla public license 1.1 (mpl 1.1)",
        ],
        "MPL-1.0": [
            "mozilla public license 1.0 (mpl)",
        ],
        "EPL-1.0": [
            "eclipse public license 1.0 (epl-1.0)",
        ],
        "EPL-2.0": [
            "eclipse public license 2.0 (epl-2.0)",
        ],
        "EUPL-1.2": [
            "european union public licence 1.2 (eupl 1.2)",
        ],
        "EUPL-1.1": [
            "european union public licence 1.1 (eupl 1.1)",
        ],
        "LicenseRef-Proprietary": [
            "proprietary",
            "proprietary license",
            "other/proprietary license",
            "commercial",
            "commercial license",
            "all rights reserved",
            "free to use but restricted",
            "shareware",
        ],
        "LicenseRef-NonCommercial": [
            "free for non-commercial use",
            "free for educational use",
            "free for home use",
        ],
        "LicenseRef-Freeware": [
            "freely distributable",
            "freeware",
        ],
    }.items()
    for spelling in spellings
}
