"""Which names of segments are told: none that holds a person of the mask's header, however its value is stored."""

import pydicom
import pytest

from segmed.io.dicom.label_names import PEOPLE, identity_of, label_name


def header(**values: object) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    for key, value in values.items():
        setattr(dataset, key, value)
    return dataset


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
@pytest.mark.parametrize("key", PEOPLE)
def test_a_word_of_any_persons_name_withholds_the_label(key: str, several: bool) -> None:
    several = several and pydicom.datadict.dictionary_VM(pydicom.datadict.tag_for_keyword(key)) != "1"
    value = ["Ito^Aya", "Miller^Jo"] if several else "Miller^Jo"
    assert label_name(identity_of(header(**{key: value})), "Tumor Miller", "1").withheld


@pytest.mark.parametrize(
    ("known", "label"),
    [
        ({"PatientName": "Li^Bo"}, "Li tumor"),
        ({"PatientName": "山田^太郎"}, "山田腫瘍"),
        ({"PatientBirthDate": "19700102"}, "born 02.01.1970"),
        ({"PatientBirthDate": "19700102"}, "01/02/1970"),
        ({"PatientBirthDate": "19700102"}, "tumor 1970-01-02"),
    ],
)
def test_short_names_other_scripts_and_dates_in_other_orders_are_found(known: dict[str, str], label: str) -> None:
    told = label_name(identity_of(header(**known)), label, "4")
    assert (told.name, told.withheld) == ("4", True)


@pytest.mark.parametrize("label", ["T2 lesion", "edema", "Oedema 3", "tumor core"])
def test_ordinary_labels_are_told(label: str) -> None:
    known = header(PatientName="T^Anna", ReferringPhysicianName="Miller^Jo", PatientBirthDate="19700102")
    assert label_name(identity_of(known), label, "1").name == label
