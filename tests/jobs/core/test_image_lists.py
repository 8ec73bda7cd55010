from __future__ import annotations

from pathlib import Path

from jobs.core.image_lists import endings_in, names_in_list


def test_names_are_lines_as_editors_of_all_systems_write_them(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes("\ufeff gate/1.png\r\n\r\nyard\u2028east/2.png\n3.png".encode())
    names = names_in_list("--list", file)
    assert names == {"gate/1.png", "yard\u2028east/2.png", "3.png"}
    assert endings_in(" gate/1.png", names) == {"gate/1.png"}
    assert endings_in("images/yard\u2028east/2.png", names) == {"yard\u2028east/2.png"}
    assert endings_in("gate/3.png", names) == {"3.png"}
    assert not endings_in("gate/2.png", names)
